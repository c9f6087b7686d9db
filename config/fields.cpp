// The table of settings: its sections and lists in their order; their fields stand in the
// fields_*.cpp of their themes.
#include "config/fields.hpp"

#include <string>

#include "config/field_tables.hpp"

namespace kw::config {
namespace {

using detail::section_at;

template <auto Items>
void* append_to(settings& s) {
    return &(s.*Items).emplace_back();
}

template <auto Items>
void* item_of(settings& s, std::size_t index) {
    return index < (s.*Items).size() ? &(s.*Items)[index] : nullptr;
}

template <auto Items>
bool equal_in(const settings& a, const settings& b) {
    return a.*Items == b.*Items;
}

}  // namespace

std::span<const section> sections() noexcept {
    static const section all[] = {
        {"server", section_at<&settings::server>, "The listener and its bounds.", tables::server},
        {"auth", section_at<&settings::auth>, "Who may call.", tables::auth},
        {"admin", section_at<&settings::admin>, "Who may administer, and the trace of it.",
         tables::admin},
        {"upstream", section_at<&settings::upstream>,
         "Connections to providers. A group may have its own `upstream` section.",
         tables::upstream},
        {"pool", section_at<&settings::pool>,
         "Choice of keys, retries and faults. A group may have its own `pool` section.",
         tables::pool},
        {"usage", section_at<&settings::usage>, "Usage, prices and how long books are kept.",
         tables::usage},
        {"limits", section_at<&settings::limits>, "Limits of access keys.", tables::limit},
        {"websocket", section_at<&settings::websocket>,
         "WebSockets (`/v1/realtime`, `/v1/responses`). `server.max_exchanges`, "
         "`server.send_timeout` and `server.shutdown_timeout` hold for them, too.",
         tables::websocket},
        {"leases", section_at<&settings::leases>,
         "Upstream keys that holders of access keys with the permission `lease` take for a time.",
         tables::lease},
        {"quota", section_at<&settings::quota>,
         "What providers tell of the quotas of upstream keys, where a group has a `quota_url`.",
         tables::quota},
        {"sessions", section_at<&settings::sessions>,
         "Clients' sessions that stay with one upstream key, where `pool.sessions` or a group's is "
         "on.",
         tables::session},
        {"objects", section_at<&settings::objects>,
         "Objects that live in one upstream account: files, batches, vector stores, responses, ….",
         tables::object},
        {"disconnect", section_at<&settings::disconnect>,
         "Clients that go away. A group may have its own `disconnect` section.",
         tables::disconnect},
        {"store", section_at<&settings::store>, "Where state lives.", tables::store},
        {"log", section_at<&settings::log>, "Logging.", tables::log},
        {"headers", section_at<&settings::headers>, "Which headers of ours an answer carries.",
         tables::header},
        {"notifications", section_at<&settings::notifications>,
         "When operators are told of something; where to is in `channels`.", tables::notification},
        {"tracing", section_at<&settings::tracing>, "Traces of requests, by OTLP over HTTP.",
         tables::tracing},
    };
    return all;
}

std::span<const list> lists() noexcept {
    static const section group_sections[] = {
        {"upstream", section_at<&group_settings::upstream>, "", tables::upstream},
        {"pool", section_at<&group_settings::pool>, "", tables::pool},
        {"disconnect", section_at<&group_settings::disconnect>, "", tables::disconnect},
    };
    static const list all[] = {
        {.name = "groups",
         .help = "Declared groups of upstream keys.",
         .fields = tables::group,
         .sections = group_sections,
         .id = "id",
         .append = [](settings& s) -> void* {
             auto& group = s.groups.emplace_back();
             group.include_usage = s.usage.include_usage;
             group.upstream = s.upstream;
             group.pool = s.pool;
             group.disconnect = s.disconnect;
             return &group;
         },
         .item = item_of<&settings::groups>,
         .equal = equal_in<&settings::groups>},
        {.name = "aliases",
         .help = "Names of models, a map: each with what is asked for it and what to fall back to.",
         .fields = tables::alias,
         .sections = {},
         .id = "alias",
         .keyed = true,
         .append = append_to<&settings::aliases>,
         .item = item_of<&settings::aliases>,
         .equal = equal_in<&settings::aliases>},
        {.name = "access_keys",
         .help = "Declared access keys.",
         .fields = tables::access_key,
         .sections = {},
         .id = "name",
         .append = append_to<&settings::access_keys>,
         .item = item_of<&settings::access_keys>,
         .equal = equal_in<&settings::access_keys>},
        {.name = "prices",
         .help = "Prices that go before the table's, in dollars per million tokens.",
         .fields = tables::price,
         .sections = {},
         .id = "model",
         .append = append_to<&settings::prices>,
         .item = item_of<&settings::prices>,
         .equal = equal_in<&settings::prices>},
        {.name = "channels",
         .help = "Declared receivers of notifications.",
         .fields = tables::channel,
         .sections = {},
         .id = "id",
         .append = append_to<&settings::channels>,
         .item = item_of<&settings::channels>,
         .equal = equal_in<&settings::channels>},
    };
    return all;
}

std::string variable_name(std::string_view section, std::string_view field) {
    std::string name = "KEYWHEEL_";
    name += section;
    if (!field.empty()) {
        name += '_';
        name += field;
    }
    for (char& c : name) {
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    }
    return name;
}

}  // namespace kw::config
