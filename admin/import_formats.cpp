// Lists of keys and access keys, and what of a document tells its format.
#include "admin/import_formats.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <charconv>

#include "admin/foreign.hpp"
#include "auth/access_key.hpp"
#include "auth/key_text.hpp"
#include "core/json_writer.hpp"

namespace kw::admin {
namespace {

namespace json = boost::json;

constexpr std::array<std::string_view, 6> format_words = {"auto", "keywheel", "litellm",
                                                          "keys", "key_pool", "access_keys"};
constexpr std::string_view key_names[] = {"key", "api_key", "apiKey", "token", "value"};
constexpr std::string_view note_names[] = {"notes", "note", "description", "remark"};
constexpr std::string_view group_names[] = {"group", "poolGroup", "pool_group", "pool"};

bool is_one_of(std::string_view name, std::span<const std::string_view> names) {
    return std::ranges::find(names, name) != names.end();
}

// The cells of one line of CSV; a quoted cell may not hold a line's end.
std::vector<std::string> cells_of(std::string_view line, char separator) {
    std::vector<std::string> out(1);
    bool quoted = false;
    for (std::size_t i = 0; i < line.size(); ++i) {
        const char ch = line[i];
        if (ch == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') {
            out.back() += '"';
            ++i;
        } else if (ch == '"' && (quoted || trimmed(out.back()).empty())) {
            quoted = !quoted;
        } else if (ch == separator && !quoted) {
            out.emplace_back();
        } else {
            out.back() += ch;
        }
    }
    for (auto& cell : out)
        cell = trimmed(cell);
    return out;
}

struct columns {
    std::size_t key = 0;
    std::size_t notes = 1;
    std::size_t group = 2;
    bool header = false;
};

columns columns_of(const std::vector<std::string>& first) {
    columns out;
    std::array<std::size_t, 3> at{SIZE_MAX, SIZE_MAX, SIZE_MAX};
    for (std::size_t i = 0; i < first.size(); ++i) {
        if (at[0] == SIZE_MAX && is_one_of(first[i], key_names)) at[0] = i;
        if (at[1] == SIZE_MAX && is_one_of(first[i], note_names)) at[1] = i;
        if (at[2] == SIZE_MAX && is_one_of(first[i], group_names)) at[2] = i;
    }
    if (at[0] == SIZE_MAX) return out;
    return {at[0], at[1], at[2], true};
}

std::string cell(const std::vector<std::string>& cells, std::size_t at) {
    return at < cells.size() ? cells[at] : std::string();
}

result<void> read_key_text(std::string_view text, foreign_reader& out) {
    bool first = true;
    columns at;
    char separator = ',';
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        const std::string line = trimmed(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.empty() || line.front() == '#') continue;
        if (first) {
            separator = line.find(',') != std::string::npos    ? ','
                        : line.find('\t') != std::string::npos ? '\t'
                        : line.find(';') != std::string::npos  ? ';'
                                                               : ',';
            at = columns_of(cells_of(line, separator));
            first = false;
            if (at.header) continue;
        }
        const auto cells = cells_of(line, separator);
        foreign_key key;
        key.value = secret(cell(cells, at.key));
        key.group = cell(cells, at.group);
        key.notes = cell(cells, at.notes);
        if (const auto ok = out.add_key(std::move(key)); !ok) return ok.error();
    }
    return {};
}

result<void> read_key_object(const json::object& object, const std::string& where,
                             foreign_reader& out) {
    foreign_key key;
    for (const auto& item : object) {
        const std::string_view name(item.key().data(), item.key().size());
        const auto text = scalar(item.value());
        if (is_one_of(name, key_names) && key.value.empty()) {
            key.value = secret(text);
        } else if (is_one_of(name, note_names)) {
            key.notes = text;
        } else if (is_one_of(name, group_names)) {
            key.group = text;
        } else if (name == "alias" || name == "name") {
            key.alias = text;
        } else if (name == "status" || name == "enabled") {
            key.disabled = text == "disabled" || text == "false";
            key.banned = text == "banned";
        } else if (name != "id" && !text.empty()) {
            out.ignore(where + "." + std::string(name.substr(0, 64)));
        }
    }
    return out.add_key(std::move(key));
}

// A list, or a map from an id to an item.
result<void> read_key_list(const json::value& list, const std::string& where, foreign_reader& out) {
    std::size_t index = 0;
    const auto one = [&](const json::value& v) -> result<void> {
        const auto at = where + "[" + std::to_string(index++) + "]";
        if (const auto* object = v.if_object()) return read_key_object(*object, at, out);
        foreign_key key;
        key.value = secret(scalar(v));
        return out.add_key(std::move(key));
    };
    if (const auto* items = list.if_array()) {
        for (const auto& v : *items) {
            if (const auto ok = one(v); !ok) return ok.error();
        }
        return {};
    }
    const auto* map = list.if_object();
    if (map == nullptr) return refused_document("its keys are not a list");
    for (const auto& item : *map) {
        if (const auto ok = one(item.value()); !ok) return ok.error();
    }
    return {};
}

result<void> read_pool_groups(const json::value& list, foreign_reader& out) {
    const auto one = [&](const json::value& v, std::string id) -> result<void> {
        foreign_group group;
        group.id = std::move(id);
        const auto* object = v.if_object();
        if (object == nullptr) return refused_document("a group is not an object");
        for (const auto& item : *object) {
            const std::string_view name(item.key().data(), item.key().size());
            const auto text = scalar(item.value());
            if (name == "id")
                group.id = text;
            else if (name == "name")
                group.name = text;
            else if (name == "priority")
                group.priority = text;
            else if (name == "base_url" || name == "baseUrl")
                group.base_url = text;
            else if (name == "provider")
                group.provider = text;
            else if (!text.empty())
                out.ignore("poolGroups." + std::string(name.substr(0, 64)));
        }
        return out.add_group(std::move(group));
    };
    if (const auto* items = list.if_array()) {
        for (const auto& v : *items) {
            if (const auto ok = one(v, {}); !ok) return ok.error();
        }
    } else if (const auto* map = list.if_object()) {
        for (const auto& item : *map) {
            if (const auto ok = one(item.value(), std::string(item.key())); !ok) return ok.error();
        }
    } else {
        return refused_document("its poolGroups are not a list");
    }
    return {};
}

result<void> read_keys(const import_source& from, foreign_reader& out) {
    if (from.json == nullptr) return read_key_text(from.text, out);
    const auto* object = from.json->if_object();
    if (object == nullptr) return read_key_list(*from.json, "", out);
    if (const auto* groups = object->if_contains("poolGroups")) {
        if (const auto ok = read_pool_groups(*groups, out); !ok) return ok.error();
    }
    const bool any = object->contains("poolGroups") || object->contains("keys") ||
                     object->contains("api_keys") || object->contains("apiKeys");
    if (!any && !object->empty()) {
        const std::string_view first = object->begin()->key();
        return bad_field(first, "is unknown, and the document holds no keys");
    }
    if (!any) return refused_document("it is empty");
    for (const auto& item : *object) {
        const std::string_view name(item.key().data(), item.key().size());
        if (name == "poolGroups") continue;
        if (name == "keys" || name == "api_keys" || name == "apiKeys") {
            if (const auto ok = read_key_list(item.value(), std::string(name), out); !ok)
                return ok.error();
        } else {
            out.ignore(name.substr(0, 64));
        }
    }
    return {};
}

}  // namespace

std::optional<import_format> parse_import_format(std::string_view word) noexcept {
    const auto* at = std::ranges::find(format_words, word);
    if (at == format_words.end()) return std::nullopt;
    return static_cast<import_format>(at - format_words.begin());
}

std::string_view to_string(import_format f) noexcept {
    return format_words[static_cast<std::size_t>(f)];
}

import_format guess_format(const import_source& from) {
    if (from.json == nullptr) {
        const auto at = from.text.find("model_list:");
        const bool starts_line =
            at != std::string_view::npos && (at == 0 || from.text[at - 1] == '\n');
        return starts_line ? import_format::litellm : import_format::keys;
    }
    const auto looks_like_access_key = [](const json::value& v) {
        const auto* o = v.if_object();
        return o != nullptr &&
               std::ranges::any_of(
                   std::array{"tokenLimit", "concurrencyLimit", "rateLimitWindow", "isActive",
                              "dailyCostLimit", "permissions", "enableModelRestriction"},
                   [&](const char* name) { return o->contains(name); });
    };
    if (const auto* list = from.json->if_array())
        return !list->empty() && looks_like_access_key(list->front()) ? import_format::access_keys
                                                                      : import_format::keys;
    const auto* object = from.json->if_object();
    if (object == nullptr) return import_format::keys;
    if (object->contains("keywheel_export")) return import_format::keywheel;
    if (object->contains("model_list")) return import_format::litellm;
    if (object->contains("poolGroups")) return import_format::key_pool;
    if (object->contains("accessKeys") || object->contains("access_keys"))
        return import_format::access_keys;
    for (const char* name : {"apiKeys", "keys"}) {
        const auto* list = object->if_contains(name);
        if (list != nullptr && list->is_array() && !list->get_array().empty() &&
            looks_like_access_key(list->get_array().front()))
            return import_format::access_keys;
    }
    return import_format::keys;
}

result<foreign_records> read_foreign(import_format format, const import_source& from,
                                     const std::string& group, const import_makers& make) {
    foreign_reader out(group, make);
    result<void> done;
    switch (format) {
        case import_format::litellm:
            done = read_litellm(from, out);
            break;
        case import_format::access_keys:
            done = read_access_keys(from, out);
            break;
        default:
            done = read_keys(from, out);
            break;
    }
    if (!done) return done.error();
    return std::move(out).finish();
}

}  // namespace kw::admin
