// Reading and writing of the stored settings. The version before is kept first, so that a failure
// on the way leaves the history whole.
#include "admin/config_store.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "admin/config_port.hpp"
#include "core/log.hpp"
#include "store/store.hpp"

namespace kw::admin {
namespace {

// In the order of their numbers.
std::string version_id(std::uint64_t number) {
    return fmt::format("{:010}", number);
}

}  // namespace

result<stored_config> read_config(call& c) {
    auto record = c.services.store.get(config::stored_kind, config::stored_id);
    if (!record) {
        if (record.error().code == errc::store_not_found) return stored_config{};
        return record.error();
    }
    auto version = config::version_from_json(record->json);
    if (version) return stored_config{std::move(*version), record->revision};
    // In force is nothing of it; the next change takes its place, with a number of its own.
    stored_config out;
    out.revision = record->revision;
    store::page_request at{.limit = 1'000, .cursor = {}};
    do {
        auto page = c.services.store.list(config::version_kind, at);
        if (!page) return page.error();
        for (const auto& kept : page->items) {
            if (const auto v = config::version_from_json(kept.json))
                out.version.number = std::max(out.version.number, v->number + 1);
        }
        at.cursor = std::move(page->next);
    } while (!at.cursor.empty());
    return out;
}

result<config::settings_version> read_version(call& c, std::uint64_t number) {
    if (number == 0) return config::settings_version{};
    const auto now = read_config(c);
    if (!now) return now.error();
    if (now->version.number == number) return now->version;
    const auto record = c.services.store.get(config::version_kind, version_id(number));
    if (!record) return record.error();
    return config::version_from_json(record->json);
}

result<config::loaded> check_config(call& c, const config::stored_settings& before,
                                    const config::stored_settings& after,
                                    const std::map<std::string, std::string>& names) {
    auto tried = after;
    for (const auto& key : c.services.config->in_force().left_out) {
        const auto old = before.find(key);
        const auto kept = tried.find(key);
        if (old != before.end() && kept != tried.end() && old->second == kept->second)
            tried.erase(kept);
    }
    auto loaded = c.services.config->with(tried);
    if (loaded) return std::move(*loaded);
    const auto problems = loaded.error();
    const auto& p = problems.items.front();
    const auto name = names.find(p.key);
    return bad_field(name == names.end() ? p.key : name->second, p.reason + ": " + p.remedy);
}

result<void> write_config(call& c, const stored_config& before, config::stored_settings values,
                          std::string action, std::optional<reply>& refused) {
    auto& store = c.services.store;
    const auto number = before.version.number;
    if (number > 0) {
        const auto kept = store.put({std::string(config::version_kind), version_id(number), 0,
                                     config::to_json(before.version)});
        if (!kept && kept.error().code != errc::store_conflict) return kept.error();
    }
    config::settings_version next;
    next.number = number + 1;
    next.at = c.services.clock.wall();
    next.by = c.what.who.name + " from " + c.request.source;
    next.action = std::move(action);
    next.values = std::move(values);
    const auto written = write(c,
                               {std::string(config::stored_kind), std::string(config::stored_id),
                                before.revision, config::to_json(next)},
                               refused);
    if (!written) return written.error();
    if (next.number > max_versions)
        (void)store.erase(config::version_kind, version_id(next.number - max_versions), 0);
    for (const auto& change : changes_between(before.version.values, next.values))
        log::event(log::level::warn, "admin.setting_changed",
                   {{"setting", change.key},
                    {"set", change.after.has_value()},
                    {"version", next.number},
                    {"source", c.request.source}});
    if (c.services.changed) c.services.changed();
    return {};
}

std::vector<config_change> changes_between(const config::stored_settings& before,
                                           const config::stored_settings& after) {
    std::vector<config_change> out;
    for (const auto& [key, texts] : before) {
        const auto now = after.find(key);
        if (now == after.end())
            out.push_back({key, texts, std::nullopt});
        else if (now->second != texts)
            out.push_back({key, texts, now->second});
    }
    for (const auto& [key, texts] : after) {
        if (!before.contains(key)) out.push_back({key, std::nullopt, texts});
    }
    return out;
}

}  // namespace kw::admin
