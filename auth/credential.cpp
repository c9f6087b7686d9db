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
