// Foreign keys, groups and access keys as records of ours, still to be checked.
#include "admin/foreign.hpp"

#include <boost/json.hpp>
#include <charconv>

#include "admin/catalogue.hpp"
#include "auth/access_key.hpp"
#include "auth/key_text.hpp"

namespace kw::admin {

namespace json = boost::json;

namespace {

constexpr std::size_t max_ignored = 1'000;

json::array texts(const std::vector<std::string>& from) {
    json::array out;
    for (const auto& text : from)
        out.emplace_back(text);
    return out;
}

// A whole number as one; what is none stays a text, which the record's check refuses.
json::value number(const std::string& text) {
    std::int64_t value = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failed != std::errc() || end != text.data() + text.size()) return json::string(text);
    return value;
}

}  // namespace

error refused_document(std::string why) {
    return error(errc::invalid_argument, "the document is refused: " + std::move(why));
}

std::string scalar(const json::value& v) {
    if (v.is_string()) return std::string(v.get_string());
    if (v.is_bool()) return v.get_bool() ? "true" : "false";
    if (v.is_int64()) return std::to_string(v.get_int64());
    if (v.is_uint64()) return std::to_string(v.get_uint64());
    if (v.is_double()) {
        char buffer[400];  // the longest double without an exponent
        const auto done =
            std::to_chars(buffer, buffer + sizeof buffer, v.get_double(), std::chars_format::fixed);
        return done.ec == std::errc() ? std::string(buffer, done.ptr) : std::string();
    }
    return {};
}

std::string trimmed(std::string_view text) {
    constexpr std::string_view blanks = " \t\r\n";
    const auto first = text.find_first_not_of(blanks);
    if (first == std::string_view::npos) return {};
    return std::string(text.substr(first, text.find_last_not_of(blanks) - first + 1));
}

result<void> foreign_reader::count() {
    if (out_.records.items.size() < max_import_items) return {};
    return refused_document("it has more than 100,000 records");
}

void foreign_reader::ignore(std::string_view what) {
    auto& ignored = out_.records.ignored;
    if (ignored.size() < max_ignored)
        ignored.emplace_back(what);
    else if (ignored.size() == max_ignored)
        ignored.emplace_back("and more");
}

result<void> foreign_reader::add_key(foreign_key key) {
    if (const auto ok = count(); !ok) return ok;
    const auto group = key.group.empty() ? group_ : key.group;
    const auto id = make_.id("uk_");
    auto alias = trimmed(key.alias);
    if (alias.empty())
        alias = group + "-" + id.substr(id.size() - std::min<std::size_t>(6, id.size()));
    json::object data{{"id", id},
                      {"alias", alias},
                      {"notes", key.notes},
                      {"group", group},
                      {"key", key.value.reveal()},
                      {"created_ms", unix_ms(make_.now)}};
    if (!key.models.empty()) data["models"] = texts(key.models);
    if (!key.weight.empty()) {
        const auto ppm = parse_factor(json::string(key.weight));
        data["weight_ppm"] = ppm ? json::value(*ppm) : json::value(json::string(key.weight));
    }
    if (key.disabled || key.banned) data["status"] = key.banned ? "banned" : "disabled";
    json::object caps;
    if (!key.rpm.empty()) caps["rpm"] = number(key.rpm);
    if (!key.tpm.empty()) caps["tpm"] = number(key.tpm);
    if (!caps.empty()) data["caps"] = std::move(caps);
    out_.records.items.push_back(
        {std::string(key_kind), id, std::make_shared<json::object>(std::move(data))});
    return {};
}

result<void> foreign_reader::add_group(foreign_group group) {
    if (const auto ok = count(); !ok) return ok;
    json::object data{{"id", group.id},
                      {"name", group.name.empty() ? group.id : group.name},
                      {"base_url", group.base_url.empty() ? "https://api.openai.com/v1"
                                                          : std::string_view(group.base_url)}};
    if (!group.provider.empty()) data["provider"] = group.provider;
    if (!group.priority.empty()) data["priority"] = number(group.priority);
    if (!group.models.empty()) data["models"] = texts(group.models);
    out_.records.items.push_back(
        {std::string(group_kind), group.id, std::make_shared<json::object>(std::move(data))});
    return {};
}

result<void> foreign_reader::add_access_key(const secret& text, json::object data) {
    if (const auto ok = count(); !ok) return ok;
    const auto id = make_.id("ak_");
    const bool ours = text.empty() || !auth::declarable(text.reveal());
    if (ours && !text.empty()) ignore("the text of an access key that cannot be one");
    secret used = ours ? make_.text() : text;
    data["hash"] = crypto::to_hex(make_.hash(used));
    data["masked"] = used.masked();
    data["created_ms"] = unix_ms(make_.now);
    const auto* name = data.if_contains("name");
    if (ours)
        out_.texts.push_back(
            {id, name != nullptr ? scalar(*name) : std::string(), std::move(used)});
    out_.records.items.push_back(
        {std::string(auth::access_key_kind), id, std::make_shared<json::object>(std::move(data))});
    return {};
}

}  // namespace kw::admin
