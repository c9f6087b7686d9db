// Groups of upstream keys.
#include <algorithm>
#include <boost/json.hpp>
#include <map>

#include "admin/group_edit.hpp"
#include "admin/handlers.hpp"
#include "admin/key_edit.hpp"
#include "admin/key_view.hpp"
#include "admin/listing.hpp"
#include "config/base_url.hpp"
#include "config/settings.hpp"
#include "core/crypto.hpp"
#include "core/json_writer.hpp"
#include "net/connector.hpp"
#include "pool/sealed_proxy.hpp"
#include "pool/strategy.hpp"

namespace kw::admin {
namespace {

namespace json = boost::json;

const error no_such_group(errc::store_not_found);

struct counted {
    std::map<std::string, key_counts, std::less<>> by_group;
    std::uint64_t uses = 0;  // of all keys
};

counted count_keys(const call& c) {
    counted out;
    for (const auto& [id, entry] : c.records.keys()) {
        const auto live = look_at(c.services, entry.key);
        out.by_group[entry.key.group_id].add(live);
        out.uses += live.uses;
    }
    return out;
}

void write_group(json_writer& w, const group_entry& entry, const counted& counts) {
    const auto& g = *entry.group;
    boost::system::error_code failed;
    const auto fields = json::parse(pool::to_json(g), failed);
    w.begin_object();
    for (const auto& item : fields.as_object()) {
        const std::string_view name(item.key().data(), item.key().size());
        if (name == "multiplier_ppm") {
            w.key("multiplier").raw(format_factor(g.multiplier_ppm));
        } else if (name == "egress_proxy") {
            w.field(name, without_password(g.egress_proxy));
        } else {
            w.key(name);
            write_value(w, item.value());
        }
    }
    const auto at = counts.by_group.find(g.id);
    const auto mine = at == counts.by_group.end() ? key_counts{} : at->second;
    mine.write(w);
    w.field("in_flight", mine.in_flight).field("uses", mine.uses).field("tokens", mine.tokens);
    w.field("usage_rate", counts.uses == 0
                              ? 0.0
                              : static_cast<double>(mine.uses) / static_cast<double>(counts.uses));
    w.field("declared", entry.declared).field("revision", entry.revision).end_object();
}

// The body's fields as changes to the stored JSON.
result<json::object> read_changes(call& c, body_fields& in, const pool::group* before) {
    json::object out;
    in.copy({"name",          "priority",           "strategy",  "strategy_settings",
             "provider",      "base_url",           "models",    "on_disconnect",
             "include_usage", "egress_proxy",       "tls_ca",    "timeouts",
             "fault_rules",   "organization",       "project",   "retry",
             "automatic",     "max_leases",         "lease_raw", "quota",
             "sessions",      "session_lifetime_ms"},
            out);
    if (const auto* factor = in.take("multiplier")) {
        if (const auto ppm = parse_factor(*factor)) {
            out["multiplier_ppm"] = *ppm;
        } else {
            in.fault("multiplier", "must be a number with at most six decimals");
        }
    }
    const auto text_of = [&](const char* name) {
        const auto* v = out.if_contains(name);
        return v != nullptr && v->is_string() ? std::string(v->get_string()) : std::string();
    };
    // Shown without its password; who sends that back means the stored one.
    if (const auto proxy = text_of("egress_proxy");
        before != nullptr && !proxy.empty() && proxy == without_password(before->egress_proxy)) {
        out.erase("egress_proxy");
    } else if (const auto ok = check_egress_proxy(c, proxy); !ok) {
        return ok.error();
    }
    if (const auto url = text_of("base_url"); !url.empty()) {
        auto checked = checked_base_url(c, url);
        if (!checked) return checked.error();
        out["base_url"] = *checked;
    }
    if (const auto* quota = out.if_contains("quota"); quota != nullptr && quota->is_object()) {
        const auto* url = quota->get_object().if_contains("url");
        const std::string text =
            url != nullptr && url->is_string() ? std::string(url->get_string()) : std::string();
        if (!text.empty() && !text.starts_with('/') && !checked_base_url(c, text))
            in.fault("quota", "has a `url` that may not be asked");
    }
    if (const auto strategy = text_of("strategy");
        !strategy.empty() && !pool::strategies::known(strategy)) {
        std::string all;
        for (const auto& name : pool::strategies::names())
            all.append(all.empty() ? "" : ", ").append(name);
        in.fault("strategy", "must be one of " + all);
    }
    return out;
}

// Checks and writes; answers with the group.
result<reply> save(call& c, store::record& record, json::object object) {
    const auto* proxy = object.if_contains("egress_proxy");
    if (proxy != nullptr && proxy->is_string())
        object["egress_proxy"] =
            pool::seal_proxy(std::string(proxy->get_string()), c.services.sealer, record.id);
    record.json = json::serialize(object);
    if (const auto valid = pool::group_from_json(record.json); !valid) {
        auto e = valid.error();
        if (const auto at = e.context.find("multiplier_ppm"); at != std::string::npos)
            e.context.replace(at, 14, "multiplier");
        return e;
    }
    std::optional<reply> refused;
    const auto written = write(c, record, refused);
    if (refused) return *refused;
    if (!written) return written.error();
    if (const auto synced = c.records.sync(); !synced) return synced.error();
    c.id = record.id;
    return show_group(c);
}

reply declared_elsewhere() {
    return refuse(409, "declared", "the group is declared in the configuration: change it there");
}

// A key that leaves its group still belongs to the same upstream: what it took from the group goes
// with it, or its secret would be sent to the server of another.
json::object takes_along(const pool::upstream_key& key, const pool::group& from) {
    json::object out{{"group", default_group}};
    if (key.base_url.empty()) out["base_url"] = from.base_url;
    if (key.provider.empty()) out["provider"] = from.provider;
    if (key.models.empty() && !from.models.empty()) {
        json::array models;
        for (const auto& m : from.models)
            models.emplace_back(m);
        out["models"] = std::move(models);
    }
    return out;
}

result<void> move_to_default(call& c, const key_entry& entry, const pool::group& from) {
    constexpr int tries = 3;  // somebody may change the key meanwhile
    for (int i = 0; i < tries; ++i) {
        auto stored = c.services.store.get(key_kind, entry.key.id);
        if (!stored) {
            if (stored.error().code == errc::store_not_found) return {};
            return stored.error();
        }
        auto object = parse_object(stored->json);
        if (!object) return object.error();
        lay_over(*object, takes_along(entry.key, from));
        stored->json = json::serialize(*object);
        const auto put = c.services.store.put(*stored);
        if (put) return {};
        if (put.error().code != errc::store_conflict) return put.error();
    }
    return error(errc::store_conflict, "a key of the group was changed meanwhile: try again");
}

}  // namespace

std::string without_password(std::string_view url) {
    if (!crypto::sealed_by(url).empty()) return "***";  // does not open
    const auto at = url.rfind('@');
    if (at == std::string_view::npos) return std::string(url);
    const auto scheme = url.find("://");
    const auto from = scheme == std::string_view::npos ? 0 : scheme + 3;
    return std::string(url.substr(0, from)) + "***" + std::string(url.substr(at));
}

result<void> check_egress_proxy(const call& c, const std::string& text) {
    if (text.empty()) return {};
    const auto proxy = net::parse_egress_proxy(secret(text));
    if (!proxy) return bad_field("egress_proxy", "is not the URL of a proxy");
    if (config::is_link_local(proxy->host) && !c.services.settings()->upstream.allow_link_local)
        return bad_field("egress_proxy", "is a link-local or metadata address");
    return {};
}

bool good_group_id(std::string_view id) noexcept {
    return !id.empty() && id.size() <= 64 && std::ranges::all_of(id, [](char ch) {
        return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
               ch == '-' || ch == '_' || ch == '.';
    });
}

result<reply> list_groups(call& c) {
    auto q = c.query();
    const auto provider = q.text("provider");
    const auto list = read_list(q, "priority");
    if (const auto ok = q.finish(); !ok) return ok.error();
    const auto counts = count_keys(c);
    auto all = c.records.groups();
    std::erase_if(all, [&](const group_entry& e) {
        return (provider && e.group->provider != *provider) ||
               !list.finds({e.group->id, e.group->name});
    });
    const auto mine = [&](const group_entry& e) -> const key_counts& {
        static const key_counts none;
        const auto at = counts.by_group.find(e.group->id);
        return at == counts.by_group.end() ? none : at->second;
    };
    constexpr auto active = static_cast<std::size_t>(pool::key_status::active);
    using row = group_entry;
    using text = const std::string&;
    const auto shown =
        page_of(all, list, column{"id", [](const row& e) -> text { return e.group->id; }},
                column{"priority", [](const row& e) { return e.group->priority; }},
                column{"name", [](const row& e) -> text { return e.group->name; }},
                column{"total", [&](const row& e) { return mine(e).total; }},
                column{"active", [&](const row& e) { return mine(e).by_status[active]; }},
                column{"in_flight", [&](const row& e) { return mine(e).in_flight; }},
                column{"uses", [&](const row& e) { return mine(e).uses; }},
                column{"tokens", [&](const row& e) { return mine(e).tokens; }});
    std::string data;
    json_writer w(data);
    w.begin_object().key("groups").begin_array();
    for (const auto& entry : shown)
        write_group(w, entry, counts);
    w.end_array();
    write_pagination(w, list.at, all.size());
    w.end_object();
    return answer(data);
}

result<reply> show_group(call& c) {
    const auto entry = c.records.group(c.id);
    if (!entry) return no_such_group;
    std::string data;
    json_writer w(data);
    write_group(w, *entry, count_keys(c));
    return answer(data, entry->revision);
}

result<reply> create_group(call& c) {
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    auto changes = read_changes(c, in, nullptr);
    const auto given = in.text("id", 64);
    const std::string id = given.value_or("");
    if (!given)
        in.fault("id", "is missing");
    else if (!good_group_id(id))
        in.fault("id", "must be 1 to 64 letters, digits, '-', '_' or '.'");
    if (changes && !changes->contains("base_url")) in.fault("base_url", "is missing");
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!changes) return changes.error();
    if (const auto there = c.records.group(id))
        return refuse(409, "duplicate_group", "there is a group of this id already");
    json::object object{{"id", id}, {"name", id}};
    lay_over(object, *changes);
    store::record record{std::string(group_kind), id, 0, {}};
    auto shown = save(c, record, object);
    if (shown && shown->status == 200) shown->status = 201;
    return shown;
}

result<reply> update_group(call& c) {
    const auto entry = c.records.group(c.id);
    if (!entry) return no_such_group;
    if (entry->declared) return declared_elsewhere();
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    const auto changes = read_changes(c, in, entry->group.get());
    const auto stale = is_stale(c, &in, entry->revision);
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!changes) return changes.error();
    if (!stale) return stale.error();
    if (*stale) return conflict(entry->revision);
    auto stored = c.services.store.get(group_kind, c.id);
    if (!stored) return stored.error();
    if (stored->revision != entry->revision) return conflict(stored->revision);
    auto object = parse_object(stored->json);
    if (!object) return object.error();
    lay_over(*object, *changes);
    return save(c, *stored, *object);
}

result<reply> delete_group(call& c) {
    const auto entry = c.records.group(c.id);
    if (!entry) return no_such_group;
    if (entry->declared) return declared_elsewhere();
    if (c.id == default_group)
        return refuse(409, "default_group", "the group `default` takes the keys of others");
    const auto stale = is_stale(c, nullptr, entry->revision);
    if (!stale) return stale.error();
    if (*stale) return conflict(entry->revision);

    std::size_t affected = 0;
    for (const auto& [id, key] : c.records.keys()) {
        if (key.key.group_id != c.id) continue;
        if (affected++ == 0) {
            if (const auto ok = need_group(c, std::string(default_group)); !ok) return ok.error();
        }
        if (const auto moved = move_to_default(c, key, *entry->group); !moved) return moved.error();
    }
    const auto erased = c.services.store.erase(group_kind, c.id, entry->revision);
    if (!erased) return erased.error();
    std::int64_t bound = 0;
    c.records.each_access_key(
        [&](const auth::access_key& key) { bound += key.options->group == c.id ? 1 : 0; });
    std::string data;
    json_writer(data)
        .begin_object()
        .field("deleted", true)
        .field("affected_keys", affected)
        .field("bound_access_keys", bound)
        .end_object();
    return answer(data);
}

}  // namespace kw::admin
