// Reads few members of values that are known to be good JSON.
#include "usage/session_fields.hpp"

#include <algorithm>

#include "usage/json_reader.hpp"

namespace kw::usage {
namespace {

constexpr std::size_t most = 4096;      // of a beginning
constexpr std::size_t most_text = 256;  // of a prompt that is one text, which may grow

std::string_view of(std::string_view body, byte_range range) noexcept {
    return body.substr(range.begin, range.size());
}

json_reader reader_of(std::string_view text) noexcept {
    return {text.data(), text.data() + text.size()};
}

// Whether a message is the user's; one without a role is, too.
bool is_of_user(std::string_view message) noexcept {
    std::string_view role = "user";
    json_reader in = reader_of(message);
    if (!in.at('{')) return true;
    bool empty = false;
    static_cast<void>(in.members(empty, [&](std::string_view name) {
        if (name == "role" && in.at('"')) return in.string(role);
        return in.value(1);
    }));
    return role == "user";
}

}  // namespace

std::string_view session_in_metadata(std::string_view body, const request_fields& fields) noexcept {
    constexpr std::array<std::string_view, 4> names{"session_id", "conversation_id", "thread_id",
                                                    "user_id"};
    std::array<std::string_view, names.size()> found;
    json_reader in = reader_of(of(body, fields.metadata));
    if (!in.at('{')) return {};
    bool empty = false;
    static_cast<void>(in.members(empty, [&](std::string_view name) {
        const auto which = std::ranges::find(names, name);
        if (which == names.end() || !in.at('"')) return in.value(1);
        return in.string(found[static_cast<std::size_t>(which - names.begin())]);
    }));
    const auto first = std::ranges::find_if(found, [](auto text) { return !text.empty(); });
    return first == found.end() ? std::string_view() : *first;
}

std::array<std::string_view, 2> prompt_beginning(std::string_view body,
                                                 const request_fields& fields) noexcept {
    const std::string_view prompt = of(body, fields.prompt);
    json_reader in = reader_of(prompt);
    std::string_view begin = prompt.substr(0, std::min(prompt.size(), most_text));
    if (in.take('[')) {
        in.blanks();
        const char* const first = in.p;
        while (in.p != in.end && *in.p != ']') {
            const char* const from = in.p;
            if (!in.value(1)) break;
            begin = {first, static_cast<std::size_t>(in.p - first)};
            if (is_of_user({from, static_cast<std::size_t>(in.p - from)}) || begin.size() > most)
                break;
            in.blanks();
            if (!in.take(',')) break;
            in.blanks();
        }
    }
    return {of(body, fields.preamble).substr(0, most), begin.substr(0, most)};
}

}  // namespace kw::usage
