// Templates, signatures and answers of the kinds of receivers.
#include "jobs/notice_message.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <ctime>
#include <utility>

#include "core/base64.hpp"
#include "core/crypto.hpp"
#include "core/json_writer.hpp"

namespace kw::jobs {
namespace {

namespace json = boost::json;
using config::channel_type;
using config::notice_kind;

std::string at(wall_time t) {
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                       fmt::gmtime(std::chrono::system_clock::to_time_t(
                           std::chrono::time_point_cast<std::chrono::system_clock::duration>(t))));
}

std::int64_t seconds_of(wall_time t) {
    return std::chrono::duration_cast<std::chrono::seconds>(t.time_since_epoch()).count();
}

std::string url_encoded(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '~';
        if (plain)
            out += c;
        else
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return out;
}

std::string json_encoded(std::string_view text) {
    std::string out;
    append_json_string(out, text);
    return out.substr(1, out.size() - 2);
}

// What would begin markup; Slack and Feishu mention people and groups by it.
std::string markup_escaped(std::string_view text, std::string_view which) {
    std::string out;
    for (const char c : text) {
        if (which.find(c) == which.npos)
            out += c;
        else
            out += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : "&quot;";
    }
    return out;
}

std::string lower_case(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return out;
}

std::string document(const notice_message& m) {
    std::string out;
    json_writer(out)
        .begin_object()
        .field("id", m.id)
        .field("event", to_string(m.kind))
        .field("severity", severity_of(m.kind))
        .field("subject", m.subject)
        .field("text", m.text)
        .field("count", m.count)
        .field("first", at(m.first))
        .field("last", at(m.last))
        .field("source", m.source)
        .end_object();
    return out;
}

// RFC 2047, so that a header line stays ASCII and one line.
std::string header_text(std::string_view text) {
    const bool plain =
        std::ranges::all_of(text, [](char c) { return c >= ' ' && c < 0x7f; }) && text.size() < 60;
    if (plain) return std::string(text);
    std::string out;
    for (std::size_t i = 0; i < text.size();) {
        // Whole characters, at most 45 bytes of them in a word.
        std::size_t end = std::min(text.size(), i + 45);
        while (end < text.size() && end > i + 1 &&
               (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U)
            --end;
        if (!out.empty()) out += "\r\n ";
        out += "=?utf-8?B?" + to_base64(text.substr(i, end - i)) + "?=";
        i = end;
    }
    return out;
}

// What these two say in a 200: too many at a time, or they are busy. Later it may be taken.
bool may_be_taken_later(channel_type type, std::int64_t code) noexcept {
    constexpr std::array<std::int64_t, 4> feishu = {11232, 11233, 230020, 99991400};
    constexpr std::array<std::int64_t, 5> dingtalk = {-1, 90018, 90030, 130101, 410100};
    return type == channel_type::feishu ? std::ranges::find(feishu, code) != feishu.end()
                                        : std::ranges::find(dingtalk, code) != dingtalk.end();
}

net::http_request chat_request(std::string url, std::string body) {
    net::http_request r;
    r.method = "POST";
    r.url = std::move(url);
    r.headers = {{"Content-Type", "application/json"}};
    r.body = std::move(body);
    return r;
}

}  // namespace

std::string_view severity_of(notice_kind kind) noexcept {
    switch (kind) {
        case notice_kind::key_recovered:
        case notice_kind::unknown_model:
        case notice_kind::test:
            return "info";
        case notice_kind::upstream_down:
        case notice_kind::store_down:
        case notice_kind::disk_low:
            return "critical";
        default:
            return "warning";
    }
}

std::string line_of(const notice_message& m) {
    std::string out = fmt::format("[{}] {}", severity_of(m.kind), to_string(m.kind));
    if (!m.subject.empty()) out += " " + m.subject;
    out += ": " + m.text;
    if (m.count > 1) out += fmt::format(" ({} times)", m.count);
    if (!m.source.empty()) out += " - " + m.source;
    return out;
}

std::string fill_template(std::string_view body, std::string_view content_type,
                          const notice_message& m) {
    const auto type = lower_case(content_type);
    const auto is = [&](std::string_view part) { return type.find(part) != type.npos; };
    const auto encoded = [&](std::string_view text) {
        if (is("json")) return json_encoded(text);
        if (type.starts_with("application/x-www-form-urlencoded")) return url_encoded(text);
        if (is("xml") || is("html")) return markup_escaped(text, "&<>\"");
        return std::string(text);
    };
    const auto value = [&](std::string_view name) -> std::optional<std::string> {
        if (name == "event") return encoded(to_string(m.kind));
        if (name == "severity") return encoded(severity_of(m.kind));
        if (name == "subject") return encoded(m.subject);
        if (name == "text") return encoded(m.text);
        if (name == "line") return encoded(line_of(m));
        if (name == "count") return std::to_string(m.count);
        if (name == "first") return encoded(at(m.first));
        if (name == "last") return encoded(at(m.last));
        if (name == "source") return encoded(m.source);
        if (name == "id") return encoded(m.id);
        return std::nullopt;
    };
    std::string out;
    while (!body.empty()) {
        const auto open = std::min(body.find("{{"), body.size());
        out += body.substr(0, open);
        body.remove_prefix(open);
        if (body.empty()) break;
        const auto close = body.find("}}");
        auto filled =
            close == body.npos ? std::optional<std::string>() : value(body.substr(2, close - 2));
        // What stands in for a name is never looked at again.
        out += filled ? *filled : std::string(body.substr(0, 2));
        body.remove_prefix(filled ? close + 2 : 2);
    }
    return out;
}

std::string sign(const secret& key, std::string_view timestamp, std::string_view body) {
    std::string text(timestamp);
    text.append(".").append(body);
    return crypto::to_hex(crypto::hmac_sha256(key)(text));
}

net::http_request compose_request(const config::channel_settings& to, const notice_message& m,
                                  wall_time now) {
    const std::string url(to.url.reveal());
    std::string body;
    json_writer w(body);
    switch (to.type) {
        case channel_type::slack:
            w.begin_object().field("text", markup_escaped(line_of(m), "&<>")).end_object();
            return chat_request(url, std::move(body));
        case channel_type::feishu: {
            w.begin_object();
            if (!to.key.empty()) {
                const std::string timestamp = std::to_string(seconds_of(now));
                std::string key = timestamp + "\n";
                key += to.key.reveal();
                w.field("timestamp", timestamp)
                    .field("sign", to_base64(crypto::hmac_sha256(secret(std::move(key)))("")));
            }
            w.field("msg_type", "text").key("content").begin_object();
            w.field("text", markup_escaped(line_of(m), "<>")).end_object().end_object();
            return chat_request(url, std::move(body));
        }
        case channel_type::dingtalk: {
            std::string signed_url = url;
            if (!to.key.empty()) {
                const std::string timestamp = std::to_string(seconds_of(now) * 1000);
                std::string text = timestamp + "\n";
                text += to.key.reveal();
                signed_url += (url.find('?') == std::string::npos ? "?timestamp=" : "&timestamp=") +
                              timestamp +
                              "&sign=" + url_encoded(to_base64(crypto::hmac_sha256(to.key)(text)));
            }
            w.begin_object().field("msgtype", "text").key("text").begin_object();
            w.field("content", line_of(m)).end_object().end_object();
            return chat_request(std::move(signed_url), std::move(body));
        }
        case channel_type::telegram: {
            std::string base = url.empty() ? "https://api.telegram.org" : url;
            while (base.ends_with('/'))
                base.pop_back();
            w.begin_object().field("chat_id", to.chat).field("text", line_of(m)).end_object();
            base += "/bot";
            base += to.key.reveal();
            return chat_request(base + "/sendMessage", std::move(body));
        }
        case channel_type::webhook:
        case channel_type::email:
            break;
    }
    net::http_request r;
    r.method = "POST";
    r.url = url;
    r.body = to.body.empty() ? document(m) : fill_template(to.body, to.content_type, m);
    const std::string timestamp = std::to_string(seconds_of(now));
    r.headers = {{"Content-Type", to.content_type},
                 {"X-Keywheel-Event", std::string(to_string(m.kind))},
                 {"X-Keywheel-Delivery", m.id},
                 {"X-Keywheel-Timestamp", timestamp}};
    if (!to.key.empty())
        r.headers.emplace_back("X-Keywheel-Signature", "v1=" + sign(to.key, timestamp, r.body));
    if (!to.authorization.empty()) r.credential = {"Authorization", to.authorization};
    return r;
}

std::string compose_mail(const config::channel_settings& to, const notice_message& m,
                         wall_time now) {
    std::string receivers;
    for (const auto& address : to.to)
        receivers += (receivers.empty() ? "" : ",\r\n ") + address;
    const auto stamp = fmt::format("{:%a, %d %b %Y %H:%M:%S} +0000",
                                   fmt::gmtime(static_cast<std::time_t>(seconds_of(now))));
    std::string out = "From: " + to.from + "\r\nTo: " + receivers + "\r\nDate: " + stamp +
                      "\r\nSubject: " +
                      header_text(fmt::format("keywheel: {} {}", to_string(m.kind), m.subject)) +
                      "\r\nMessage-ID: <" + m.id +
                      "@keywheel.invalid>\r\nMIME-Version: 1.0\r\n"
                      "Content-Type: text/plain; charset=utf-8\r\n"
                      "Content-Transfer-Encoding: base64\r\n\r\n";
    const std::string text = to_base64(fmt::format(
        "{}\r\n\r\nevent: {}\r\nabout: {}\r\ncount: {}\r\nfirst: {}\r\nlast: {}\r\nfrom: {}\r\n",
        m.text, to_string(m.kind), m.subject, m.count, at(m.first), at(m.last), m.source));
    for (std::size_t i = 0; i < text.size(); i += 76)
        out += text.substr(i, 76) + "\r\n";
    return out;
}

result<void> judge_answer(channel_type type, const net::http_response& r) {
    if (r.status < 200 || r.status > 299) {
        const bool later = r.status >= 500 || r.status == 429 || r.status == 408;
        return error(later ? errc::upstream_reset : errc::invalid_argument,
                     "status " + std::to_string(r.status));
    }
    const char* const name = type == channel_type::feishu     ? "code"
                             : type == channel_type::dingtalk ? "errcode"
                                                              : nullptr;
    if (name == nullptr) return {};
    // These two answer 200 whatever they think of it.
    boost::system::error_code failed;
    const auto v = json::parse(r.body, failed);
    const auto* code = failed || !v.is_object() ? nullptr : v.get_object().if_contains(name);
    if (code == nullptr || !code->is_int64() || code->get_int64() == 0) return {};
    return error(
        may_be_taken_later(type, code->get_int64()) ? errc::upstream_reset : errc::invalid_argument,
        std::string(name) + " " + std::to_string(code->get_int64()));
}

}  // namespace kw::jobs
