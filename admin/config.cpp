// Settings at run time: what is in force, and what is set here.
#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <map>

#include "admin/config_port.hpp"
#include "admin/config_store.hpp"
#include "admin/handlers.hpp"
#include "config/settings.hpp"
#include "core/json_writer.hpp"

namespace kw::admin {
namespace {

namespace json = boost::json;

// Names in common use, each of one setting. Milliseconds are given as plain numbers.
struct common_name {
    std::string_view group;
    std::string_view name;
    std::string_view key;
    bool milliseconds = false;
};
constexpr common_name common_names[] = {
    {"retry", "enabled", "pool.retry"},
    {"retry", "max", "pool.retry_max"},
    {"autoBan", "enabled", "pool.auto_ban"},
    {"autoBan", "ban_401", "pool.ban_401"},
    {"autoBan", "ban_402", "pool.ban_402"},
    {"autoBan", "threshold", "pool.error_threshold"},
    {"performance", "concurrentLimit", "server.max_exchanges"},
    {"performance", "requestTimeoutMs", "pool.probe_timeout", true},
};
constexpr std::string_view tier_key = "pool.multi_tier";
constexpr std::string_view strategy_key = "pool.strategy";

std::optional<std::string> scalar_text(const json::value& v) {
    if (v.is_string()) return std::string(v.get_string());
    if (v.is_bool()) return v.get_bool() ? "true" : "false";
    if (v.is_int64()) return std::to_string(v.get_int64());
    if (v.is_uint64()) return std::to_string(v.get_uint64());
    if (v.is_double()) {
        char buffer[32];
        const auto end = std::to_chars(buffer, buffer + sizeof buffer, v.get_double()).ptr;
        return std::string(buffer, end);
    }
    return std::nullopt;
}

// A body's settings, by key: a value, or none to forget what is stored.
class wanted_settings {
  public:
    std::map<std::string, std::optional<std::vector<std::string>>> values;
    std::map<std::string, std::string> names;  // as the caller called them
    std::optional<error> fault;

    void set(const std::string& key, const std::string& name, const json::value& v,
             bool milliseconds = false) {
        if (const auto why = config::why_not_stored(key); !why.empty())
            return refuse(name, std::string(why));
        if (names.contains(key)) return refuse(name, "is given twice");
        names[key] = name;
        if (v.is_null()) {
            values[key] = std::nullopt;
            return;
        }
        std::vector<std::string> texts;
        if (const auto* list = v.if_array()) {
            for (const auto& one : *list) {
                auto text = scalar_text(one);
                if (!text) return refuse(name, "must hold plain values");
                texts.push_back(std::move(*text));
            }
        } else if (auto text = scalar_text(v)) {
            if (milliseconds && v.is_number()) *text += "ms";
            texts.push_back(std::move(*text));
        } else {
            return refuse(name, "must be a value or a list of values");
        }
        values[key] = std::move(texts);
    }
    void refuse(std::string_view name, std::string_view why) {
        if (!fault) fault = bad_field(name, why);
    }
};

// {enabled, autoFallback, strictMode}: whether groups of later tiers serve.
void read_tiers(const json::value& v, wanted_settings& out) {
    const auto* object = v.if_object();
    if (object == nullptr) return out.refuse("multiTier", "must be an object");
    bool strict = false;
    std::optional<bool> falls_back;
    std::optional<bool> says_strict;
    for (const auto& item : *object) {
        const std::string name(item.key());
        if (name != "enabled" && name != "autoFallback" && name != "strictMode")
            return out.refuse("multiTier." + name, "is unknown");
        if (!item.value().is_bool())
            return out.refuse("multiTier." + name, "must be true or false");
        const bool on = item.value().get_bool();
        if (name == "autoFallback") falls_back = on;
        if (name == "strictMode") says_strict = on;
        strict = strict || on == (name == "strictMode");
    }
    if (falls_back == true && says_strict == true)
        return out.refuse("multiTier.strictMode", "contradicts autoFallback");
    if (!object->empty())
        out.set(std::string(tier_key), "multiTier",
                json::string(strict ? "strict" : "auto-fallback"));
}

void read_common(std::string_view group, const json::value& v, wanted_settings& out) {
    const auto* object = v.if_object();
    if (object == nullptr) return out.refuse(group, "must be an object");
    for (const auto& item : *object) {
        const std::string_view name(item.key().data(), item.key().size());
        const std::string full = std::string(group) + "." + std::string(name);
        const auto* known = std::ranges::find_if(
            common_names, [&](const common_name& n) { return n.group == group && n.name == name; });
        if (known == std::end(common_names)) return out.refuse(full, "is unknown");
        out.set(std::string(known->key), full, item.value(), known->milliseconds);
    }
}

bool is_common_group(std::string_view name) {
    return std::ranges::any_of(common_names, [&](const common_name& n) { return n.group == name; });
}

wanted_settings read_settings(const json::object& body) {
    wanted_settings out;
    for (const auto& item : body) {
        const std::string name(item.key());
        const auto& v = item.value();
        if (name == "revision") continue;
        if (name == "algorithm") {
            out.set(std::string(strategy_key), name, v);
        } else if (name == "multiTier") {
            read_tiers(v, out);
        } else if (is_common_group(name)) {
            read_common(name, v, out);
        } else if (name.find('.') != std::string::npos) {
            out.set(name, name, v);
        } else if (const auto* section = v.if_object()) {
            if (section->empty()) out.refuse(name, "is empty");
            for (const auto& field : *section)
                out.set(name + "." + std::string(field.key()),
                        name + "." + std::string(field.key()), field.value());
        } else {
            out.refuse(name, "is unknown");
        }
    }
    return out;
}

void write_common(json_writer& w, const config::settings& s) {
    w.field("algorithm", s.pool.strategy);
    w.key("retry").begin_object().field("enabled", s.pool.retry);
    w.field("max", s.pool.retry_max).end_object();
    w.key("autoBan").begin_object().field("enabled", s.pool.auto_ban);
    w.field("ban_401", s.pool.ban_401).field("ban_402", s.pool.ban_402);
    w.field("threshold", s.pool.error_threshold).end_object();
    w.key("performance").begin_object().field("concurrentLimit", s.server.max_exchanges);
    w.field("requestTimeoutMs", s.pool.probe_timeout.count()).end_object();
    const bool later = s.pool.multi_tier == config::tier_policy::auto_fallback;
    w.key("multiTier").begin_object().field("enabled", later).field("autoFallback", later);
    w.field("strictMode", !later).end_object();
}

error fixed() {
    return error(errc::invalid_argument, "settings are fixed here");
}

}  // namespace

result<reply> config_answer(call& c, const config::stored_settings* before) {
    const auto stored = read_config(c);
    if (!stored) return stored.error();
    const auto& loaded = c.services.config->in_force();
    const auto all = config::list_settings(loaded);
    std::string data;
    json_writer w(data);
    w.begin_object().field("revision", stored->revision).field("version", stored->version.number);
    write_common(w, loaded.values);
    w.key("settings").begin_array();
    for (const auto& one : all) {
        w.begin_object().field("key", one.key).field("value", one.value);
        w.field("origin", one.origin).field("type", one.type).field("help", one.help);
        w.field("needs_restart", one.needs_restart);
        if (!one.locked.empty()) w.field("locked", one.locked);
        w.end_object();
    }
    w.end_array();
    write_texts(w, "left_out", loaded.left_out);
    if (before != nullptr) {
        std::vector<std::string> changed;
        std::vector<std::string> restart;
        for (const auto& change : changes_between(*before, stored->version.values)) {
            changed.push_back(change.key);
            const auto at = std::ranges::find(all, change.key, &config::setting_info::key);
            if (at != all.end() && at->needs_restart) restart.push_back(change.key);
        }
        write_texts(w, "changed", changed);
        write_texts(w, "needs_restart", restart);
    }
    w.end_object();
    return answer(data, stored->revision);
}

result<reply> show_config(call& c) {
    if (const auto ok = c.query().finish(); !ok) return ok.error();
    if (c.services.config == nullptr) return fixed();
    return config_answer(c, nullptr);
}

result<reply> update_config(call& c) {
    if (c.services.config == nullptr) return fixed();
    const auto body = c.body();
    if (!body) return body.error();
    auto wanted = read_settings(*body);
    if (wanted.fault) return *wanted.fault;
    const auto before = read_config(c);
    if (!before) return before.error();
    json::object rest;  // what read_settings passed over
    if (const auto* revision = body->if_contains("revision")) rest["revision"] = *revision;
    body_fields in(rest);
    const auto stale = is_stale(c, &in, before->revision);
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!stale) return stale.error();
    if (*stale) return conflict(before->revision);

    auto after = before->version.values;
    for (const auto& [key, texts] : wanted.values) {
        if (texts)
            after[key] = *texts;
        else
            after.erase(key);
    }
    const auto checked = check_config(c, before->version.values, after, wanted.names);
    if (!checked) return checked.error();
    // In one spelling, as they are shown.
    for (const auto& [key, texts] : wanted.values) {
        if (texts) after[key] = config::value_texts(checked->values, key);
    }
    if (after != before->version.values) {
        std::optional<reply> refused;
        const auto written = write_config(c, *before, std::move(after), "change", refused);
        if (refused) return *refused;
        if (!written) return written.error();
    }
    return config_answer(c, &before->version.values);
}

// Without names everything.
result<reply> reset_config(call& c) {
    if (c.services.config == nullptr) return fixed();
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    std::vector<std::string> keys;
    const auto* named = in.take("settings");
    if (named != nullptr) {
        const auto* list = named->if_array();
        if (list == nullptr || list->empty()) {
            in.fault("settings", "must be a list of names");
        } else {
            for (const auto& one : *list) {
                if (one.is_string())
                    keys.emplace_back(one.get_string());
                else
                    in.fault("settings", "must be a list of names");
            }
        }
    }
    auto before = read_config(c);
    if (!before) return before.error();
    for (const auto& key : keys) {
        if (!before->version.values.contains(key) &&
            config::why_not_stored(key) == "is not a known setting")
            in.fault("settings", "holds a name that is not a known setting");
    }
    const auto stale = is_stale(c, &in, before->revision);
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!stale) return stale.error();
    if (*stale) return conflict(before->revision);

    config::stored_settings after;
    if (named != nullptr) {
        after = before->version.values;
        for (const auto& key : keys)
            after.erase(key);
        // What remains may lean on what goes.
        const auto checked = check_config(c, before->version.values, after);
        if (!checked) return checked.error();
    }
    if (after != before->version.values) {
        std::optional<reply> refused;
        const auto written = write_config(c, *before, std::move(after), "reset", refused);
        if (refused) return *refused;
        if (!written) return written.error();
    }
    return config_answer(c, &before->version.values);
}

}  // namespace kw::admin
