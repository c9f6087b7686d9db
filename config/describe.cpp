// Settings as rows, differences and Markdown.
#include "config/describe.hpp"

#include <fmt/format.h>

#include "config/fields.hpp"
#include "config/values.hpp"

namespace kw::config {

namespace {

[[nodiscard]] std::string origin_of(const loaded& from, const std::string& key) {
    const auto found = from.origins.find(key);
    return (found == from.origins.end() ? origin{} : found->second).to_string();
}

// Where an item's own section differs from the global one of the same name.
void describe_overrides(settings& values, const section& own, void* item, const std::string& key,
                        const std::string& origin, std::vector<row>& rows) {
    for (const auto& global : sections()) {
        if (global.name != own.name) continue;
        for (const auto& f : own.fields) {
            const auto value = f.at(own.at(item));
            if (equal_values(value, f.at(global.at(&values)))) continue;
            rows.push_back(
                {fmt::format("{}.{}.{}", key, own.name, f.name), format_value(f, value), origin});
        }
    }
}

// A declared list's items, each with those of its values that are not empty.
void describe_list(const loaded& from, settings& values, const list& one, std::vector<row>& rows) {
    for (std::size_t i = 0; void* item = one.item(values, i); ++i) {
        std::string id;
        for (const auto& f : one.fields) {
            if (f.name == one.id) id = format_value(f, f.at(item));
        }
        const std::string key = fmt::format("{}.{}", one.name, id);
        const std::string origin = origin_of(from, key);
        for (const auto& f : one.fields) {
            std::string text = format_value(f, f.at(item));
            if (f.name == one.id || text.empty()) continue;
            rows.push_back({fmt::format("{}.{}", key, f.name), std::move(text), origin});
        }
        for (const auto& s : one.sections)
            describe_overrides(values, s, item, key, origin, rows);
    }
}

// A cell of a Markdown table.
[[nodiscard]] std::string cell(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '|') out += '\\';
        out += c;
    }
    return out;
}

[[nodiscard]] std::string code(std::string_view text) {
    return text.empty() ? std::string() : fmt::format("`{}`", text);
}

[[nodiscard]] std::string variables(const section& s, const field& f) {
    std::string out = code(variable_name(s.name, f.name));
    std::string_view rest = f.aliases;
    while (!rest.empty()) {
        const auto end = std::min(rest.find(' '), rest.size());
        out += ", " + code(rest.substr(0, std::min(rest.find(':'), end)));
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return out;
}

}  // namespace

std::vector<row> describe(const loaded& from) {
    std::vector<row> rows;
    settings values = from.values;  // slots point to what may be changed
    for (const auto& s : sections()) {
        for (const auto& f : s.fields) {
            std::string key = fmt::format("{}.{}", s.name, f.name);
            std::string origin = origin_of(from, key);
            rows.push_back(
                {std::move(key), format_value(f, f.at(s.at(&values))), std::move(origin)});
        }
    }
    for (const auto& one : lists())
        describe_list(from, values, one, rows);
    return rows;
}

std::vector<change> differences(const settings& before, const settings& after) {
    std::vector<change> changes;
    settings a = before;
    settings b = after;
    for (const auto& s : sections()) {
        for (const auto& f : s.fields) {
            if (equal_values(f.at(s.at(&a)), f.at(s.at(&b)))) continue;
            changes.push_back({fmt::format("{}.{}", s.name, f.name), !f.live});
        }
    }
    for (const auto& one : lists()) {
        if (!one.equal(a, b)) changes.push_back({std::string(one.name), false});
    }
    return changes;
}

std::string settings_reference() {
    std::string out;
    settings defaults;
    for (const auto& s : sections()) {
        out += fmt::format("### {}\n\n{}\n\n", s.name, s.help);
        out += "| setting | type | default | meaning | variables | reload |\n";
        out += "| --- | --- | --- | --- | --- | --- |\n";
        for (const auto& f : s.fields) {
            const auto value = f.at(s.at(&defaults));
            out += fmt::format("| `{}.{}` | {} | {} | {} | {} | {} |\n", s.name, f.name,
                               cell(type_name(f, value)), code(format_value(f, value)),
                               cell(f.help), variables(s, f), f.live ? "live" : "restart");
        }
        out += '\n';
    }
    for (const auto& one : lists()) {
        out += fmt::format("### {}\n\n{} As one variable, in YAML: `{}`. Reload: live.\n\n",
                           one.name, one.help, variable_name(one.name));
        out += "| setting | type | default | meaning |\n| --- | --- | --- | --- |\n";
        void* item = one.append(defaults);
        for (const auto& f : one.fields) {
            if (one.keyed && f.name == one.id) {
                out += fmt::format("| *key of the map* | text | | {} |\n", cell(f.help));
                continue;
            }
            const auto value = f.at(item);
            out +=
                fmt::format("| `{}`{} | {} | {} | {} |\n", f.name, f.required ? " (required)" : "",
                            cell(type_name(f, value)), code(format_value(f, value)), cell(f.help));
        }
        for (const auto& s : one.sections) {
            out += fmt::format(
                "| `{}` | section | | As the section `{}`, whose values it begins "
                "with. |\n",
                s.name, s.name);
        }
        out += '\n';
    }
    return out;
}

}  // namespace kw::config
