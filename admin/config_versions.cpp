// The history of what was set: who, when, what changed; and the way back.
#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "admin/config_store.hpp"
#include "admin/handlers.hpp"
#include "admin/listing.hpp"
#include "core/json_writer.hpp"
#include "store/store.hpp"

namespace kw::admin {
namespace {

void write_side(json_writer& w, std::string_view name,
                const std::optional<std::vector<std::string>>& texts) {
    if (texts)
        write_texts(w, name, *texts);
    else
        w.key(name).null();
}

using change_list = decltype(changes_between({}, {}));

void write_version(json_writer& w, const config::settings_version& v, const change_list& changes,
                   bool whole) {
    w.begin_object().field("version", v.number);
    write_time(w, "at", v.at);
    w.field("by", v.by).field("action", v.action);
    w.key("changes").begin_array();
    for (const auto& change : changes) {
        w.begin_object().field("key", change.key);
        write_side(w, "before", change.before);
        write_side(w, "after", change.after);
        w.end_object();
    }
    w.end_array();
    if (whole) {
        w.key("values").begin_object();
        for (const auto& [key, texts] : v.values)
            write_texts(w, key, texts);
        w.end_object();
    }
    w.end_object();
}

// Oldest first: those that are kept, then the one in force.
result<std::vector<config::settings_version>> all_versions(call& c) {
    std::vector<config::settings_version> out;
    store::page_request at{.limit = 1'000, .cursor = {}};
    do {
        auto page = c.services.store.list(config::version_kind, at);
        if (!page) return page.error();
        for (const auto& record : page->items) {
            if (auto v = config::version_from_json(record.json)) out.push_back(std::move(*v));
        }
        at.cursor = std::move(page->next);
    } while (!at.cursor.empty());
    auto now = read_config(c);
    if (!now) return now.error();
    std::erase_if(out, [&](const auto& v) { return v.number >= now->version.number; });
    if (now->version.number > 0) out.push_back(std::move(now->version));
    return out;
}

result<std::uint64_t> number_of(const std::string& id) {
    std::uint64_t number = 0;
    const auto [end, failed] = std::from_chars(id.data(), id.data() + id.size(), number);
    if (failed != std::errc() || end != id.data() + id.size()) return error(errc::store_not_found);
    return number;
}

}  // namespace

result<reply> list_config_versions(call& c) {
    auto q = c.query();
    const auto key = q.text("key");
    const auto list = read_list(q, "-version");
    if (const auto ok = q.finish(); !ok) return ok.error();
    const auto all = all_versions(c);
    if (!all) return all.error();
    struct row {
        const config::settings_version* version;
        change_list changes;
    };
    std::vector<row> found;
    const config::stored_settings nothing;
    const config::stored_settings* before = &nothing;
    for (const auto& v : *all) {
        row r{&v, changes_between(*before, v.values)};
        before = &v.values;
        const auto any = [&](auto&& wanted) {
            return std::ranges::any_of(r.changes, [&](const auto& one) { return wanted(one.key); });
        };
        if (key && !any([&](const std::string& name) { return name == *key; })) continue;
        if (list.finds({v.by, v.action}) ||
            any([&](const std::string& name) { return list.finds({name}); }))
            found.push_back(std::move(r));
    }
    using text = const std::string&;
    const auto shown =
        page_of(found, list, column{"version", [](const row& r) { return r.version->number; }},
                column{"at", [](const row& r) { return r.version->at; }},
                column{"by", [](const row& r) -> text { return r.version->by; }},
                column{"action", [](const row& r) -> text { return r.version->action; }});
    std::string data;
    json_writer w(data);
    w.begin_object().key("versions").begin_array();
    for (const auto& r : shown)
        write_version(w, *r.version, r.changes, false);
    w.end_array();
    write_pagination(w, list.at, found.size());
    w.end_object();
    return answer(data);
}

result<reply> show_config_version(call& c) {
    if (const auto ok = c.query().finish(); !ok) return ok.error();
    const auto number = number_of(c.id);
    if (!number || *number == 0) return error(errc::store_not_found);
    const auto version = read_version(c, *number);
    if (!version) return version.error();
    // The oldest that is kept has lost the one before it.
    const auto before = read_version(c, *number - 1);
    if (!before && before.error().code != errc::store_not_found) return before.error();
    std::string data;
    json_writer w(data);
    const auto changes =
        changes_between(before ? before->values : version->values, version->values);
    write_version(w, *version, changes, true);
    return answer(data);
}

result<reply> rollback_config(call& c) {
    if (c.services.config == nullptr)
        return error(errc::invalid_argument, "settings are fixed here");
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    (void)in.whole("revision");
    if (const auto ok = in.finish(); !ok) return ok.error();
    const auto number = number_of(c.id);
    if (!number) return number.error();
    auto target = read_version(c, *number);
    if (!target) return target.error();
    const auto before = read_config(c);
    if (!before) return before.error();
    const auto stale = is_stale(c, &in, before->revision);
    if (!stale) return stale.error();
    if (*stale) return conflict(before->revision);
    const auto checked = check_config(c, before->version.values, target->values);
    if (!checked) return checked.error();
    if (target->values != before->version.values) {
        std::optional<reply> refused;
        const auto written = write_config(c, *before, std::move(target->values),
                                          "rollback to " + std::to_string(*number), refused);
        if (refused) return *refused;
        if (!written) return written.error();
    }
    return config_answer(c, &before->version.values);
}

}  // namespace kw::admin
