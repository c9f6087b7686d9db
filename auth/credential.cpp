// Finding the client's credential in its head.
#include "auth/credential.hpp"

#include <algorithm>

namespace kw::auth {

namespace {

std::string_view bearer_of(std::string_view authorization) noexcept {
    constexpr std::string_view scheme = "bearer ";
    if (authorization.size() < scheme.size()) return {};
    const bool matches = std::ranges::equal(authorization.substr(0, scheme.size()), scheme,
                                            [](char a, char b) { return (a | 0x20) == b; });
    if (!matches) return {};
    const std::size_t from = authorization.find_first_not_of(' ', scheme.size());
    return from == std::string_view::npos ? std::string_view() : authorization.substr(from);
}

bool is_gemini_path(std::string_view path) noexcept {
    return path.starts_with("/v1beta/") ||
           (path.starts_with("/v1/models/") && path.find(':') != std::string_view::npos);
}

// Calls each(parameter) for every part between ampersands until it returns false.
template <class Each>
void for_each_parameter(std::string_view query, Each each) {
    while (!query.empty()) {
        const std::size_t end = std::min(query.find('&'), query.size());
        if (!each(query.substr(0, end))) return;
        query.remove_prefix(std::min(end + 1, query.size()));
    }
}

int hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::string unescaped(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool escape = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
                            hex_digit(text[i + 2]) >= 0;
        if (escape) {
            out.push_back(static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])));
            i += 2;
        } else {
            out.push_back(text[i] == '+' ? ' ' : text[i]);
        }
    }
    return out;
}

bool is_key(std::string_view parameter) noexcept {
    return parameter == "key" || parameter.starts_with("key=");
}

}  // namespace

std::string_view pick_credential(const presented& from) noexcept {
    const std::string_view bearer = bearer_of(from.authorization);
    for (const std::string_view one : {bearer, from.x_api_key, from.api_key, from.x_goog_api_key}) {
        if (!one.empty()) return one;
    }
    std::string_view found;
    if (is_gemini_path(from.path)) {
        for_each_parameter(from.query, [&](std::string_view parameter) {
            if (is_key(parameter))
                found = parameter.substr(std::min<std::size_t>(4, parameter.size()));
            return found.empty();
        });
    }
    for (std::string_view rest = from.subprotocols; found.empty() && !rest.empty();) {
        const std::size_t end = std::min(rest.find(','), rest.size());
        std::string_view one = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        one.remove_prefix(std::min(one.find_first_not_of(" \t"), one.size()));
        one = one.substr(0, one.find_last_not_of(" \t") + 1);
        if (one.starts_with(subprotocol_prefix)) found = one.substr(subprotocol_prefix.size());
    }
    return found;
}

std::vector<std::string> query_values(std::string_view query, std::string_view name) {
    std::vector<std::string> found;
    for_each_parameter(query, [&](std::string_view pair) {
        const std::size_t equals = std::min(pair.find('='), pair.size());
        if (unescaped(pair.substr(0, equals)) == name)
            found.push_back(unescaped(pair.substr(std::min(equals + 1, pair.size()))));
        return true;
    });
    return found;
}

void append_query_without_key(std::string& out, std::string_view query) {
    bool first = true;
    for_each_parameter(query, [&](std::string_view parameter) {
        if (is_key(parameter)) return true;
        if (!first) out.push_back('&');
        first = false;
        out.append(parameter);
        return true;
    });
}

}  // namespace kw::auth
