// Which values may be shown is a list of what is known to be harmless, not of what is secret.
#include "proxy/head_log.hpp"

#include <algorithm>
#include <array>
#include <cctype>

namespace kw::proxy {
namespace {

constexpr std::array<std::string_view, 16> shown = {
    "accept",         "accept-encoding",   "connection",  "content-encoding",
    "content-length", "content-type",      "date",        "expect",
    "host",           "openai-beta",       "retry-after", "retry-after-ms",
    "traceparent",    "transfer-encoding", "user-agent",  "x-request-id"};
constexpr std::array<std::string_view, 3> shown_prefixes = {"x-stainless-", "x-ratelimit-",
                                                            "anthropic-ratelimit-"};

bool may_show(std::string_view name) noexcept {
    return std::ranges::any_of(shown,
                               [&](auto known) { return net::equal_ignoring_case(name, known); }) ||
           std::ranges::any_of(shown_prefixes, [&](auto prefix) {
               return net::equal_ignoring_case(name.substr(0, prefix.size()), prefix);
           });
}

// Ids of objects say what they are of, and are no secrets: an exact list of these beginnings.
constexpr auto id_beginnings = std::to_array<std::string_view>(
    {"file-",   "file_",   "skill_",    "sess_", "resp_",   "conv_",       "batch_",
     "ftjob-",  "ftckpt-", "vs_",       "vsfb_", "thread_", "run_",        "msg_",
     "step_",   "asst_",   "upload_",   "part_", "cntr_",   "cfile_",      "eval_",
     "evalrun", "video_",  "chatcmpl-", "cmpl-", "ft:",     "outputitem_", "rs_"});
// Words of paths and names of models are shorter.
constexpr std::size_t longest_word = 48;
constexpr std::size_t shortest_key = 24;  // of letters and digits alone

// Eight, four, four, four and twelve hexadecimal digits: some providers' keys.
bool is_uuid(std::string_view part) noexcept {
    if (part.size() != 36) return false;
    for (std::size_t i = 0; i < part.size(); ++i) {
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        const auto c = static_cast<unsigned char>(part[i]);
        if (dash ? c != '-' : std::isxdigit(c) == 0) return false;
    }
    return true;
}

// A part of a path that may be a credential: one of a known form, or long and no object's id.
bool may_be_secret(std::string_view part) noexcept {
    constexpr auto credentials = std::to_array<std::string_view>(
        {"sk-", "sk_", "pk-", "rk-", "ek_", "AIza", "gsk_", "xai-", "hf_", "key-", "r8_", "pa-",
         "fw_", "csk-", "pplx-", "nvapi-", "bearer"});
    const auto begins = [&](auto known) { return part.starts_with(known); };
    if (part.starts_with("kw")) return true;
    // Also behind something, as in `v1:sk-…`; words of names end otherwise.
    for (std::size_t at = 0; at < part.size(); ++at) {
        if (at > 0 && std::isalnum(static_cast<unsigned char>(part[at - 1])) != 0) continue;
        const auto rest = part.substr(at);
        if (std::ranges::any_of(credentials, [&](auto known) {
                return net::equal_ignoring_case(rest.substr(0, known.size()), known);
            }))
            return true;
    }
    if (part.find('%') != part.npos) return true;  // of whatever form it is
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    const auto is_plain = [&](char c) {
        return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    };
    if (part.size() >= shortest_key && std::ranges::all_of(part, is_plain) &&
        std::ranges::any_of(part, is_digit))
        return true;
    if (is_uuid(part)) return true;
    return part.size() > longest_word && std::ranges::none_of(id_beginnings, begins);
}

void append_path(std::string& out, std::string_view path) {
    while (!path.empty()) {
        const auto end = std::min(path.find('/'), path.size());
        const auto part = path.substr(0, end);
        out += may_be_secret(part) ? std::string_view("***") : part;
        path.remove_prefix(end);
        if (path.empty()) break;
        out += '/';
        path.remove_prefix(1);
    }
}

void append_headers(std::string& out, const net::http_head& head) {
    std::string_view between = " ";
    for (const auto& h : head) {
        out.append(between).append(h.name).append(": ");
        out += may_show(h.name) ? h.value : std::string_view("***");
        between = ", ";
    }
}

}  // namespace

std::string describe_request(const net::http_head& head) {
    std::string out(head.method());
    out += ' ';
    append_path(out, head.path());
    if (!head.query().empty()) out += "?***";
    append_headers(out, head);
    return out;
}

std::string describe_response(const net::http_head& head) {
    std::string out = std::to_string(head.status());
    out.append(" ").append(head.reason());
    append_headers(out, head);
    return out;
}

}  // namespace kw::proxy
