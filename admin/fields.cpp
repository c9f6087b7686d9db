// Reading of query parameters and JSON bodies.
#include "admin/fields.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "net/url.hpp"

namespace kw::admin {
namespace {

constexpr std::size_t max_shown = 64;  // of a name that the caller made up

std::optional<std::string> decode(std::string_view text) {
    std::string blanks(text);
    std::ranges::replace(blanks, '+', ' ');
    return net::percent_decode(blanks);
}

}  // namespace

error bad_field(std::string_view name, std::string_view why) {
    std::string text = "field \"";
    text.append(name.substr(0, max_shown)).append("\" ").append(why);
    return error(errc::invalid_argument, std::move(text));
}

query_fields::query_fields(std::string_view query, std::span<const query_param> known)
    : known_(known) {
    while (!query.empty()) {
        const auto end = std::min(query.find('&'), query.size());
        const auto item = query.substr(0, end);
        query.remove_prefix(std::min(end + 1, query.size()));
        if (item.empty()) continue;
        const auto equals = std::min(item.find('='), item.size());
        const auto name = decode(item.substr(0, equals));
        const auto value = decode(item.substr(std::min(equals + 1, item.size())));
        if (!name || !value) {
            fault(item.substr(0, equals), "is not well encoded");
        } else if (!values_.emplace(*name, *value).second) {
            fault(*name, "is given twice");
        }
    }
}

void query_fields::fault(std::string_view name, std::string_view why) {
    if (!fault_) fault_ = bad_field(name, why);
}

result<void> query_fields::check_names() const {
    for (const auto& [name, value] : values_)
        if (std::ranges::find(known_, name, &query_param::name) == known_.end())
            return bad_field(name, "is unknown");
    return {};
}

std::optional<std::string> query_fields::text(const std::string& name) {
    // A mistake of ours, which the walk over all routes finds.
    if (std::ranges::find(known_, name, &query_param::name) == known_.end())
        fault(name, "is read, but not in the table of parameters");
    const auto at = values_.find(name);
    if (at == values_.end()) return std::nullopt;
    auto out = std::move(at->second);
    values_.erase(at);
    return out;
}

std::size_t query_fields::number(const std::string& name, std::size_t otherwise, std::size_t least,
                                 std::size_t most) {
    const auto given = text(name);
    if (!given) return otherwise;
    std::size_t value = 0;
    const auto [end, failed] = std::from_chars(given->data(), given->data() + given->size(), value);
    if (failed != std::errc() || end != given->data() + given->size() || value < least ||
        value > most) {
        fault(name, "must be a whole number from " + std::to_string(least) + " to " +
                        std::to_string(most));
        return otherwise;
    }
    return value;
}

std::optional<wall_time> query_fields::time(const std::string& name) {
    const auto given = text(name);
    if (!given) return std::nullopt;
    const auto at = parse_time(*given);
    if (!at) fault(name, "must be a date or an RFC 3339 time");
    return at;
}

std::size_t query_fields::choice(const std::string& name,
                                 const std::vector<std::string_view>& words,
                                 std::size_t otherwise) {
    const auto given = text(name);
    if (!given) return otherwise;
    const auto at = std::ranges::find(words, std::string_view(*given));
    if (at == words.end()) {
        std::string all;
        for (const auto w : words)
            all.append(all.empty() ? "" : ", ").append(w);
        fault(name, "must be one of " + all);
        return otherwise;
    }
    return static_cast<std::size_t>(at - words.begin());
}

page_place query_fields::place() {
    page_place at;
    at.page = number("page", 1, 1, 1'000'000);
    at.limit = number("limit", 20, 1, 1'000);
    return at;
}

sort_order query_fields::order(std::string_view otherwise) {
    auto given = text("sort").value_or(std::string(otherwise));
    sort_order out;
    out.descending = given.starts_with('-');
    out.by = given.substr(out.descending ? 1 : 0);
    const auto entry = std::ranges::find(known_, "sort", &query_param::name);
    if (entry == known_.end()) return out;
    const auto words = "," + std::string(entry->words) + ",";
    if (out.by.empty() || out.by.find(',') != std::string::npos ||
        words.find("," + out.by + ",") == std::string::npos)
        fault("sort",
              "must be one of " + std::string(entry->words) + ", with - before it for the reverse");
    return out;
}

result<void> query_fields::finish() {
    if (!fault_ && !values_.empty()) fault(values_.begin()->first, "is unknown");
    if (fault_) return *fault_;
    return {};
}

result<boost::json::object> parse_object(std::string_view body) {
    if (body.find_first_not_of(" \t\r\n") == std::string_view::npos) return boost::json::object();
    boost::system::error_code failed;
    auto value = boost::json::parse(body, failed);
    if (failed || !value.is_object())
        return error(errc::invalid_argument, "the body must be a JSON object");
    return std::move(value.get_object());
}

const boost::json::value* body_fields::take(std::string_view name) {
    known_.insert(name);
    const auto* v = body_.if_contains(name);
    return v == nullptr || v->is_null() ? nullptr : v;
}

bool body_fields::given(std::string_view name) {
    known_.insert(name);
    return body_.if_contains(name) != nullptr;
}

std::optional<std::string> body_fields::text(std::string_view name, std::size_t most) {
    const auto* v = take(name);
    if (v == nullptr) return std::nullopt;
    if (!v->is_string() || v->get_string().size() > most) {
        fault(name, "must be a text of at most " + std::to_string(most) + " bytes");
        return std::nullopt;
    }
    return std::string(v->get_string());
}

std::optional<std::uint64_t> body_fields::whole(std::string_view name) {
    const auto* v = take(name);
    if (v == nullptr) return std::nullopt;
    if (v->is_int64() && v->get_int64() >= 0) return static_cast<std::uint64_t>(v->get_int64());
    fault(name, "must be a whole number");
    return std::nullopt;
}

void body_fields::copy(std::initializer_list<std::string_view> names, boost::json::object& onto) {
    for (const auto name : names) {
        known_.insert(name);
        if (const auto* v = body_.if_contains(name)) onto[name] = *v;
    }
}

void lay_over(boost::json::object& onto, const boost::json::object& changes) {
    for (const auto& item : changes) {
        if (item.value().is_null()) {
            onto.erase(item.key());
        } else {
            onto[item.key()] = item.value();
        }
    }
}

void body_fields::fault(std::string_view name, std::string_view why) {
    if (!fault_) fault_ = bad_field(name, why);
}

result<void> body_fields::finish() {
    for (const auto& item : body_) {
        const std::string_view name(item.key().data(), item.key().size());
        // Before any other fault: a misspelt field is why another is missing.
        if (!known_.contains(name)) return bad_field(name, "is unknown");
    }
    if (fault_) return *fault_;
    return {};
}

}  // namespace kw::admin
