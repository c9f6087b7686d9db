// Access keys with the field names in common use: 0 or nothing is unlimited.
#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "admin/foreign.hpp"
#include "core/money.hpp"

namespace kw::admin {
namespace {

namespace json = boost::json;

// A whole number above 0; 0 for anything else.
std::int64_t whole(const json::object& from, std::string_view name) {
    const auto* v = from.if_contains(name);
    if (v == nullptr) return 0;
    const auto text = scalar(*v);
    std::int64_t value = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
    return failed == std::errc() && end == text.data() + text.size() && value > 0 ? value : 0;
}

// Dollars as the API's limits take them; "" for nothing.
std::string dollars(const json::object& from, std::string_view name) {
    const auto* v = from.if_contains(name);
    if (v == nullptr) return {};
    const auto amount = parse_scaled_decimal(scalar(*v), 9, true);
    return amount && *amount > 0 ? format_dollars(*amount) : std::string();
}

bool flag(const json::object& from, std::string_view name, bool otherwise) {
    const auto* v = from.if_contains(name);
    if (v == nullptr) return otherwise;
    const auto text = scalar(*v);
    return text.empty() ? otherwise : text == "true" || text == "1";
}

json::array texts(const json::object& from, std::string_view name) {
    json::array out;
    const auto* v = from.if_contains(name);
    if (v == nullptr || !v->is_array()) return out;
    for (const auto& one : v->get_array()) {
        if (auto text = scalar(one); !text.empty()) out.emplace_back(std::move(text));
    }
    return out;
}

json::array limits_of(const json::object& from, const std::string& where, foreign_reader& out) {
    json::array limits;
    const auto minutes = whole(from, "rateLimitWindow");
    const auto window = std::to_string(minutes) + "m";
    const auto add = [&](std::string_view unit, std::string_view per, json::value cap) {
        json::object limit{{"unit", unit}, {"cap", std::move(cap)}};
        if (!per.empty()) limit["per"] = per;
        if (!per.empty() && per == window) limit["window"] = "fixed";
        limits.emplace_back(std::move(limit));
    };
    if (const auto cap = whole(from, "tokenLimit"); cap > 0)
        add("tokens", minutes > 0 ? window : "total", cap);
    if (const auto cap = whole(from, "concurrencyLimit"); cap > 0) add("concurrent", "", cap);
    if (const auto cap = whole(from, "rateLimitRequests"); cap > 0) {
        if (minutes > 0)
            add("requests", window, cap);
        else
            out.ignore(where + ".rateLimitRequests, which has no rateLimitWindow");
    }
    if (const auto cap = dollars(from, "rateLimitCost"); !cap.empty()) {
        if (minutes > 0)
            add("cost", window, json::string(cap));
        else
            out.ignore(where + ".rateLimitCost, which has no rateLimitWindow");
    }
    if (const auto cap = dollars(from, "dailyCostLimit"); !cap.empty())
        add("cost", "day", json::string(cap));
    if (const auto cap = dollars(from, "totalCostLimit"); !cap.empty())
        add("cost", "total", json::string(cap));
    return limits;
}

constexpr std::string_view known[] = {"id",
                                      "name",
                                      "description",
                                      "key",
                                      "apiKey",
                                      "accessKey",
                                      "tokenLimit",
                                      "concurrencyLimit",
                                      "rateLimitWindow",
                                      "rateLimitRequests",
                                      "rateLimitCost",
                                      "dailyCostLimit",
                                      "totalCostLimit",
                                      "isActive",
                                      "expiresAt",
                                      "enableModelRestriction",
                                      "restrictedModels",
                                      "enableClientRestriction",
                                      "allowedClients",
                                      "tags"};

result<void> read_one(const json::value& v, const std::string& where, foreign_reader& out) {
    const auto* from = v.if_object();
    if (from == nullptr) return refused_document(where + " is not an object");
    const auto text = [&](std::string_view name) {
        const auto* found = from->if_contains(name);
        return found == nullptr ? std::string() : scalar(*found);
    };
    json::object data{{"name", text("name")}};
    if (text("name").empty()) data["name"] = "imported";
    if (const auto description = text("description"); !description.empty())
        data["description"] = description;
    if (auto tags = texts(*from, "tags"); !tags.empty()) data["tags"] = std::move(tags);
    if (!flag(*from, "isActive", true)) data["disabled"] = true;
    if (const auto at = text("expiresAt"); !at.empty()) {
        const auto time = parse_time(at);
        if (!time) return refused_document(where + ".expiresAt is not a time");
        data["expires_ms"] = unix_ms(*time);
    }
    // Those are the ones that it may not ask for.
    if (auto models = texts(*from, "restrictedModels");
        !models.empty() && flag(*from, "enableModelRestriction", false))
        data["models_deny"] = std::move(models);
    if (const auto clients = texts(*from, "allowedClients");
        !clients.empty() && flag(*from, "enableClientRestriction", false)) {
        json::array patterns;
        for (const auto& client : clients)
            patterns.emplace_back("*" + std::string(client.get_string()) + "*");
        data["clients_allow"] = std::move(patterns);
    }
    if (auto limits = limits_of(*from, where, out); !limits.empty())
        data["limits"] = std::move(limits);
    for (const auto& item : *from) {
        const std::string_view name(item.key().data(), item.key().size());
        if (std::ranges::find(known, name) == std::end(known) && !item.value().is_null())
            out.ignore(where + "." + std::string(name.substr(0, 64)));
    }
    std::string key;
    for (const char* name : {"key", "apiKey", "accessKey"}) {
        if (key.empty()) key = text(name);
    }
    return out.add_access_key(secret(std::move(key)), std::move(data));
}

}  // namespace

result<void> read_access_keys(const import_source& from, foreign_reader& out) {
    if (from.json == nullptr) return refused_document("access keys come as JSON");
    const auto* list = from.json->if_array();
    if (const auto* object = from.json->if_object()) {
        for (const char* name : {"accessKeys", "access_keys", "apiKeys", "keys"}) {
            const auto* found = object->if_contains(name);
            if (list == nullptr && found != nullptr) list = found->if_array();
        }
    }
    if (list == nullptr) return refused_document("it holds no list of access keys");
    for (std::size_t i = 0; i < list->size(); ++i) {
        if (const auto ok = read_one((*list)[i], "[" + std::to_string(i) + "]", out); !ok)
            return ok.error();
    }
    return {};
}

}  // namespace kw::admin
