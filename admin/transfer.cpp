// The kinds of records that exports hold, each with its secrets and its checks.
#include "admin/transfer.hpp"

#include <algorithm>
#include <boost/json.hpp>

#include "admin/config_store.hpp"
#include "admin/group_edit.hpp"
#include "admin/key_edit.hpp"
#include "auth/authenticator.hpp"
#include "config/channel.hpp"
#include "config/settings.hpp"
#include "pool/sealed_proxy.hpp"
#include "pool/strategy.hpp"

namespace kw::admin {
namespace {

namespace json = boost::json;
using what = verdict::what;

verdict refused(std::string why) {
    return {what::refuse, std::move(why)};
}

std::string text_of(const json::object& data, std::string_view name) {
    const auto* v = data.if_contains(name);
    return v != nullptr && v->is_string() ? std::string(v->get_string()) : std::string();
}

// Declarations are the configuration's: what comes from elsewhere is as if made here.
void settle_declared(json::object& data, const json::object* before) {
    if (auto* flag = data.if_contains("declared")) *flag = false;
    const auto* held = before == nullptr ? nullptr : before->if_contains("declared");
    if (held != nullptr) data["declared"] = *held;
}

// ---- groups

// What is written instead of a proxy that does not open; an import refuses it like any other whose
// login is missing.
constexpr const char* unreadable_proxy = "http://***@unreadable";

bool open_group(const call& c, const std::string& id, json::object& data) {
    const auto proxy = pool::open_proxy(text_of(data, "egress_proxy"), c.services.sealer, id);
    if (proxy && !proxy->empty()) data["egress_proxy"] = *proxy;
    return proxy.has_value();
}

void hide_group(const call& c, const std::string& id, json::object& data) {
    if (!open_group(c, id, data))
        data["egress_proxy"] = unreadable_proxy;
    else if (const auto proxy = text_of(data, "egress_proxy"); !proxy.empty())
        data["egress_proxy"] = without_password(proxy);
}

verdict close_group(call& c, import_state& state, parcel& item, const json::object* before) {
    auto& data = *item.data;
    if (!good_group_id(item.id) || text_of(data, "id") != item.id)
        return refused("the id is not a group's");
    if (const auto g = c.records.group(item.id); g && g->declared)
        return {what::skip, "the configuration declares it"};
    if (auto proxy = text_of(data, "egress_proxy"); !proxy.empty()) {
        const auto stored = before == nullptr ? std::string() : text_of(*before, "egress_proxy");
        const auto held = pool::open_proxy(stored, c.services.sealer, item.id);
        if (held && proxy == without_password(*held)) {
            proxy = *held;
        } else if (proxy.find("://***@") != std::string::npos) {
            return refused("its egress proxy's password is not in the document");
        }
        if (const auto ok = check_egress_proxy(c, proxy); !ok) return refused(ok.error().context);
        // The stored text stays where it says the same: sealing is never twice alike.
        const bool same = held && proxy == *held && !crypto::sealed_by(stored).empty();
        data["egress_proxy"] = same ? stored : pool::seal_proxy(proxy, c.services.sealer, item.id);
    }
    const auto url = checked_base_url(c, text_of(data, "base_url"));
    if (!url) return refused(url.error().context);
    data["base_url"] = *url;
    const auto valid = pool::group_from_json(json::serialize(data));
    if (!valid) return refused(valid.error().context);
    if (!pool::strategies::known(valid->strategy)) return refused("its strategy is not known");
    state.groups.insert(item.id);
    return {};
}

// ---- upstream keys

void hide_key(const call&, const std::string&, json::object& data) {
    data.erase("sealed");
}

bool open_key(const call& c, const std::string& id, json::object& data) {
    const auto value = c.services.sealer.open(text_of(data, "sealed"), id);
    data.erase("sealed");
    if (value) data["key"] = value->reveal();
    return value.has_value();
}

verdict close_key(call& c, import_state& state, parcel& item, const json::object* before) {
    auto& data = *item.data;
    if (!good_group_id(item.id) || text_of(data, "id") != item.id)
        return refused("the id is not an upstream key's");
    const auto group = text_of(data, "group");
    if (!state.groups.contains(group)) return refused("its group does not exist");
    if (const auto url = text_of(data, "base_url"); !url.empty()) {
        const auto checked = checked_base_url(c, url);
        if (!checked) return refused(checked.error().context);
        data["base_url"] = *checked;
    }
    const secret value(text_of(data, "key"));
    const bool has_value = data.erase("key") > 0;
    data.erase("sealed");  // under another master key, and none of the document's business
    if (has_value) {
        if (!usable_value(value.reveal()))
            return refused("its key is not 8 to 512 visible ASCII characters");
        for (const char* name : {"alias", "notes"}) {
            if (text_of(data, name).find(value.reveal()) != std::string::npos)
                return refused(std::string("its ") + name + " holds the key");
        }
        const auto print = c.records.fingerprint(value);
        const auto same = c.records.key_with(group, print);
        if (!same.empty() && same != item.id)
            return {what::skip, "the group has this key already: " + same};
        if (!state.values.emplace(group, print).second)
            return {what::skip, "the document has this key twice"};
        // The stored text stays where it says the same: sealing is never twice alike.
        const auto held = before == nullptr ? std::string() : text_of(*before, "sealed");
        const auto opened = c.services.sealer.open(held, item.id);
        data["sealed"] = opened && *opened == value ? held : c.services.sealer.seal(value, item.id);
    } else if (before != nullptr && before->contains("sealed")) {
        data["sealed"] = before->at("sealed");
    } else {
        return refused("the document does not hold the key itself");
    }
    settle_declared(data, before);
    const auto valid = pool::key_from_json(json::serialize(data), c.services.sealer);
    if (!valid) return refused(valid.error().context);
    state.keys.insert(item.id);
    return {};
}

// ---- access keys

void hide_access_key(const call&, const std::string&, json::object& data) {
    data.erase("hash");
    data.erase("earlier_hash");
    data.erase("earlier_until_ms");
}

bool open_access_key(const call&, const std::string&, json::object&) {
    return true;  // a hash is opened by nothing; the peppers come along
}

// Whether the configuration here declares the text of this hash.
bool declared_here(const call& c, const import_state& state, const crypto::digest& hash) {
    const auto settings = c.services.settings();
    return std::ranges::any_of(state.peppers, [&](const secret& pepper) {
        const auto same = [&](const secret& text) {
            return auth::hash_key_text(text, pepper) == hash;
        };
        return std::ranges::any_of(settings->auth.access_keys, same) ||
               std::ranges::any_of(settings->access_keys,
                                   [&](const auto& k) { return same(k.key); });
    });
}

// No access key lives longer than the settings let one, wherever it comes from. One that is here
// already keeps its end where the document's is none or too late, so that it can come twice.
void bound_lifetime(const call& c, json::object& data, const json::object* before) {
    const auto longest = c.services.settings()->auth.max_lifetime;
    const auto* declared = data.if_contains("declared");
    if (longest.count() <= 0 || (declared != nullptr && *declared == true)) return;
    const auto number = [](const json::object* of, std::string_view name) {
        const auto* v = of == nullptr ? nullptr : of->if_contains(name);
        return v != nullptr && v->is_int64() ? std::optional(v->get_int64()) : std::nullopt;
    };
    const std::int64_t most_s = std::chrono::duration_cast<std::chrono::seconds>(longest).count();
    const auto after = number(&data, "expires_after_s");
    if (after.value_or(0) > most_s) data["expires_after_s"] = most_s;
    const std::int64_t last = unix_ms(c.services.clock.wall() + longest);
    const auto end = number(&data, "expires_ms");
    if (end ? *end <= last : after.value_or(0) > 0) return;
    const auto held = number(before, "expires_ms");
    data["expires_ms"] = held && *held <= last ? *held : last;
}

verdict close_access_key(call& c, import_state& state, parcel& item, const json::object* before) {
    auto& data = *item.data;
    if (!good_group_id(item.id)) return refused("the id is not an access key's");
    if (data.contains("holder")) return refused("it was handed out by a lease");
    if (!data.contains("hash")) {
        if (before == nullptr) return refused("the document does not hold its hash");
        for (const char* name : {"hash", "earlier_hash", "earlier_until_ms"}) {
            if (const auto* v = before->if_contains(name)) data[name] = *v;
        }
    }
    if (!short_texts(data)) return refused("a text is longer than 1000 bytes, or a list is");
    settle_declared(data, before);
    bound_lifetime(c, data, before);
    const auto key = auth::access_key_from(
        {std::string(auth::access_key_kind), item.id, 0, json::serialize(data)});
    if (!key) return refused(key.error().context);
    if (key->multiplier_ppm > 1'000'000'000) return refused("its multiplier is above 1000");
    if (!key->options->group.empty() && !state.groups.contains(key->options->group))
        return refused("its group does not exist");
    if (!key->options->upstream_key.empty() && !state.keys.contains(key->options->upstream_key))
        return refused("its upstream key does not exist");
    if (const auto same = state.known_hashes.find(key->hash);
        same != state.known_hashes.end() && same->second != item.id)
        return {what::skip, "there is an access key of this text already: " + same->second};
    if (before == nullptr && declared_here(c, state, key->hash))
        return {what::skip, "the configuration declares it"};
    if (!state.hashes.insert(key->hash).second)
        return {what::skip, "the document has this access key twice"};
    return {};
}

// ---- channels of notifications

void hide_channel(const call&, const std::string&, json::object& data) {
    data.erase("sealed");
    data.erase("body");  // a template may hold what is meant for its receiver alone
}

bool open_channel(const call& c, const std::string& id, json::object& data) {
    const auto sealed = text_of(data, "sealed");
    data.erase("sealed");
    if (sealed.empty()) return true;
    const auto opened = c.services.sealer.open(sealed, id);
    boost::system::error_code failed;
    auto secrets = json::parse(opened ? opened->reveal() : std::string_view(), failed);
    if (failed || !secrets.is_object()) return false;
    data["secrets"] = std::move(secrets);
    return true;
}

verdict close_channel(call& c, import_state&, parcel& item, const json::object* before) {
    auto& data = *item.data;
    if (!good_group_id(item.id) || text_of(data, "id") != item.id)
        return refused("the id is not a channel's");
    data.erase("sealed");  // under another master key
    const auto held = before == nullptr ? std::string() : text_of(*before, "sealed");
    if (const auto* given = data.if_contains("secrets"); given != nullptr) {
        const secret plain(json::serialize(*given));
        const auto opened = c.services.sealer.open(held, item.id);
        data["sealed"] = opened && *opened == plain ? held : c.services.sealer.seal(plain, item.id);
        data.erase("secrets");
    } else if (before != nullptr) {
        if (!held.empty()) data["sealed"] = held;
        if (const auto* body = before->if_contains("body"); body != nullptr) data["body"] = *body;
    } else {
        return refused("the document does not hold its secrets");
    }
    const auto channel =
        config::channel_from_json(json::serialize(data), item.id, c.services.sealer);
    if (!channel) return refused(channel.error().context);
    const auto fault = config::fault_of(*channel, c.services.settings()->upstream.allow_link_local);
    if (fault)
        return refused("its " + std::string(fault->field) + " " + std::string(fault->reason));
    // As it is written here: what the document has beside that is left out.
    data =
        json::parse(config::channel_to_json(*channel, c.services.sealer, text_of(data, "sealed")))
            .get_object();
    return {};
}

// ---- settings

void hide_nothing(const call&, const std::string&, json::object&) {}

bool open_nothing(const call&, const std::string&, json::object&) {
    return true;
}

verdict close_config(call& c, import_state&, parcel& item, const json::object* before) {
    if (c.services.config == nullptr || item.id != config::stored_id)
        return refused("there are no settings of this name");
    const auto wanted = config::version_from_json(json::serialize(*item.data));
    if (!wanted) return refused(wanted.error().context);
    config::settings_version held;
    if (before != nullptr) {
        if (auto v = config::version_from_json(json::serialize(*before))) held = std::move(*v);
    }
    if (const auto ok = check_config(c, held.values, wanted->values); !ok)
        return refused(ok.error().context);
    return {};
}

constexpr portable_kind kinds[] = {
    {group_kind, hide_group, open_group, close_group},
    {key_kind, hide_key, open_key, close_key},
    {auth::access_key_kind, hide_access_key, open_access_key, close_access_key},
    {config::channel_record, hide_channel, open_channel, close_channel},
    {config::stored_kind, hide_nothing, open_nothing, close_config},
};

}  // namespace

std::span<const portable_kind> portable_kinds() noexcept {
    return kinds;
}

const portable_kind* find_portable(std::string_view kind) noexcept {
    const auto* at = std::ranges::find(kinds, kind, &portable_kind::kind);
    return at == std::end(kinds) ? nullptr : at;
}

import_state begin_import(call& c, const std::vector<secret>& peppers) {
    import_state out{.peppers = peppers,
                     .groups = {},
                     .keys = {},
                     .values = {},
                     .hashes = {},
                     .known_hashes = {}};
    for (const auto& entry : c.records.groups())
        out.groups.insert(entry.group->id);
    for (const auto& [id, key] : c.records.keys())
        out.keys.insert(id);
    c.records.each_access_key(
        [&](const auth::access_key& key) { out.known_hashes.emplace(key.hash, key.id); });
    return out;
}

bool short_texts(const json::object& data) noexcept {
    constexpr std::size_t most = 1'000;
    return std::ranges::all_of(data, [](const auto& item) {
        const auto fits = [](const json::value& v) {
            return !v.is_string() || v.get_string().size() <= most;
        };
        const auto* list = item.value().if_array();
        return fits(item.value()) &&
               (list == nullptr || (list->size() <= most && std::ranges::all_of(*list, fits)));
    });
}

}  // namespace kw::admin
