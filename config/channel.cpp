// Channels as text, and what is wrong with them.
#include "config/channel.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>

#include "config/base_url.hpp"
#include "core/json_writer.hpp"

namespace kw::config {
namespace {

namespace json = boost::json;

constexpr std::array<std::string_view, 15> kind_names = {
    "key_banned",    "key_recovered", "pool_low",          "quota_low",          "budget_warning",
    "unknown_model", "error_rate",    "latency",           "upstream_down",      "store_down",
    "disk_low",      "resources",     "suspicious_access", "certificate_expiry", "test"};
constexpr std::array<std::string_view, 6> type_names = {"webhook",  "slack",    "feishu",
                                                        "dingtalk", "telegram", "email"};

bool is_plain(std::string_view text) noexcept {
    return std::ranges::all_of(text, [](unsigned char c) { return c >= ' ' && c != 0x7f; });
}

bool is_header_value(std::string_view text) noexcept {
    return std::ranges::all_of(text, [](char c) { return c >= ' ' && c < 0x7f; });
}

bool is_visible(std::string_view text) noexcept {
    return std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

// Enough to keep what it is told from becoming another command.
bool is_address(std::string_view text) noexcept {
    const auto at = text.find('@');
    return at != 0 && at != std::string_view::npos && at + 1 < text.size() && text.size() <= 254 &&
           is_visible(text) && text.find_first_of("<>,;:\"\\()[]") == std::string_view::npos;
}

std::string text_of(const json::object& in, std::string_view name) {
    const auto* v = in.if_contains(name);
    return v != nullptr && v->is_string() ? std::string(v->get_string()) : std::string();
}

std::string secrets_of(const channel_settings& c) {
    if (c.url.empty() && c.key.empty() && c.authorization.empty()) return {};
    std::string out;
    json_writer(out)
        .begin_object()
        .field("url", c.url.reveal())
        .field("key", c.key.reveal())
        .field("authorization", c.authorization.reveal())
        .end_object();
    return out;
}

}  // namespace

std::string_view to_string(notice_kind kind) noexcept {
    return kind_names[static_cast<std::size_t>(kind)];
}

std::string_view to_string(channel_type type) noexcept {
    return type_names[static_cast<std::size_t>(type)];
}

std::optional<notice_kind> parse_notice_kind(std::string_view word) noexcept {
    const auto* at = std::ranges::find(kind_names, word);
    if (at == kind_names.end()) return std::nullopt;
    return static_cast<notice_kind>(at - kind_names.begin());
}

std::optional<channel_type> parse_channel_type(std::string_view word) noexcept {
    const auto* at = std::ranges::find(type_names, word);
    if (at == type_names.end()) return std::nullopt;
    return static_cast<channel_type>(at - type_names.begin());
}

std::optional<mail_server> parse_mail_server(std::string_view url) {
    using enum mail_server::security;
    struct scheme {
        std::string_view name;
        mail_server::security by;
        std::uint16_t port;
    };
    constexpr std::array schemes = {scheme{"smtp://", starttls, 587}, scheme{"smtps://", tls, 465},
                                    scheme{"smtp+plain://", none, 25}};
    for (const auto& s : schemes) {
        if (!url.starts_with(s.name)) continue;
        url.remove_prefix(s.name.size());
        if (url.ends_with('/')) url.remove_suffix(1);
        // The form of host and port is that of any other URL.
        const auto parsed = parse_base_url("http://" + std::string(url));
        if (!parsed || url.find_first_of("/?#@") != std::string_view::npos) return std::nullopt;
        const auto bracket = url.rfind(']');
        const auto colon = url.rfind(':');
        const bool has_port = colon != std::string_view::npos &&
                              (bracket == std::string_view::npos || colon > bracket);
        return mail_server{s.by, parsed->host, has_port ? parsed->port : s.port};
    }
    return std::nullopt;
}

std::optional<channel_fault> fault_of(const channel_settings& c, bool allow_link_local) {
    const auto fault = [](std::string_view field, std::string_view reason) {
        return channel_fault{field, reason};
    };
    if (c.name.size() > 256 || !is_plain(c.name)) return fault("name", "is too long or malformed");
    if (c.body.size() > 16 * kib) return fault("body", "is longer than 16 KiB");
    if (c.content_type.empty() || c.content_type.size() > 128 || !is_header_value(c.content_type))
        return fault("content_type", "is no media type");
    if (!is_visible(c.key.reveal()) || c.key.size() > 1024)
        return fault("key", "must be visible ASCII characters");
    if (!is_header_value(c.authorization.reveal()) || c.authorization.size() > 4096)
        return fault("authorization", "is no header's value");
    std::string host;
    if (c.type == channel_type::email) {
        const auto server = parse_mail_server(c.url.reveal());
        if (!server)
            return fault("url", "must be smtp://host:port, smtps://host:port or smtp+plain://…");
        host = server->host;
        if (server->by == mail_server::security::none && !c.user.empty() && !is_loopback(host))
            return fault("url", "would send the password without TLS");
        if (!is_address(c.from)) return fault("from", "must be an e-mail address");
        if (c.to.empty() || c.to.size() > 50 || !std::ranges::all_of(c.to, is_address))
            return fault("to", "must be one to fifty e-mail addresses");
        if (!is_plain(c.user) || c.user.size() > 256) return fault("user", "is malformed");
    } else if (c.type != channel_type::telegram || !c.url.empty()) {
        const auto text = c.url.reveal();
        const auto url = parse_base_url(text.substr(0, text.find('?')));
        if (!url || text.size() > 2048 || !is_visible(text))
            return fault("url", "must be a URL, as https://hooks.example.com/…");
        host = url->host;
        // A signing key stays here; these two are sent.
        const bool sends_secret = c.type == channel_type::telegram ||
                                  (c.type == channel_type::webhook && !c.authorization.empty());
        if (sends_secret && url->scheme == "http" && !is_loopback(host))
            return fault("url", c.type == channel_type::telegram
                                    ? "would send the bot's token without TLS"
                                    : "would send the authorization without TLS");
    }
    if (!host.empty() && is_link_local(host) && !allow_link_local)
        return fault("url", "is a link-local or cloud metadata address");
    if (c.type == channel_type::telegram) {
        if (c.key.empty()) return fault("key", "must be the bot's token");
        if (c.key.reveal().find_first_of("/?#%") != std::string_view::npos)
            return fault("key", "is no bot's token");
        if (c.chat.empty() || c.chat.size() > 64 || !is_plain(c.chat))
            return fault("chat", "must be the chat's id");
    }
    return std::nullopt;
}

std::string channel_to_json(const channel_settings& c, const crypto::sealer& sealer,
                            std::string_view sealed) {
    std::string out;
    json_writer w(out);
    w.begin_object()
        .field("id", c.id)
        .field("name", c.name)
        .field("type", to_string(c.type))
        .field("disabled", c.disabled);
    w.key("events").begin_array();
    for (unsigned i = 0; i < notice_kinds; ++i)
        if (c.events.has(static_cast<notice_kind>(i))) w.value(kind_names[i]);
    w.end_array();
    w.field("body", c.body)
        .field("content_type", c.content_type)
        .field("chat", c.chat)
        .field("user", c.user)
        .field("from", c.from);
    w.key("to").begin_array();
    for (const auto& address : c.to)
        w.value(address);
    w.end_array();
    if (const secret plain(secrets_of(c)); !plain.empty()) {
        // Sealing is never twice alike.
        const auto before = sealed.empty() ? result<secret>(error(errc::invalid_argument))
                                           : sealer.open(sealed, c.id);
        w.field("sealed",
                before && *before == plain ? std::string(sealed) : sealer.seal(plain, c.id));
    }
    w.end_object();
    return out;
}

result<channel_settings> channel_from_json(std::string_view text, std::string_view id,
                                           const crypto::sealer& sealer) {
    const auto bad = [](const char* why) { return error(errc::invalid_argument, why); };
    boost::system::error_code failed;
    const auto v = json::parse(text, failed);
    if (failed || !v.is_object()) return bad("not a channel");
    const auto& in = v.get_object();
    channel_settings c;
    c.id = id;
    c.name = text_of(in, "name");
    const auto type = parse_channel_type(text_of(in, "type"));
    if (!type) return bad("a channel of an unknown type");
    c.type = *type;
    const auto* disabled = in.if_contains("disabled");
    c.disabled = disabled != nullptr && disabled->is_bool() && disabled->get_bool();
    if (const auto* events = in.if_contains("events"); events != nullptr && events->is_array()) {
        c.events = {};
        for (const auto& e : events->get_array()) {
            const auto kind =
                e.is_string() ? parse_notice_kind({e.get_string().data(), e.get_string().size()})
                              : std::nullopt;
            // One of a newer release is passed over.
            if (kind && *kind != notice_kind::test)
                c.events.bits |= 1U << static_cast<unsigned>(*kind);
        }
    }
    c.body = text_of(in, "body");
    if (auto t = text_of(in, "content_type"); !t.empty()) c.content_type = std::move(t);
    c.chat = text_of(in, "chat");
    c.user = text_of(in, "user");
    c.from = text_of(in, "from");
    if (const auto* to = in.if_contains("to"); to != nullptr && to->is_array())
        for (const auto& address : to->get_array())
            if (address.is_string()) c.to.emplace_back(address.get_string());
    if (const auto sealed = text_of(in, "sealed"); !sealed.empty()) {
        const auto opened = sealer.open(sealed, id);
        if (!opened) return opened.error();
        const auto secrets = json::parse(opened->reveal(), failed);
        if (failed || !secrets.is_object()) return bad("a channel with malformed secrets");
        c.url = secret(text_of(secrets.get_object(), "url"));
        c.key = secret(text_of(secrets.get_object(), "key"));
        c.authorization = secret(text_of(secrets.get_object(), "authorization"));
    }
    return c;
}

std::string sealed_secrets(std::string_view text) {
    boost::system::error_code failed;
    const auto v = json::parse(text, failed);
    return failed || !v.is_object() ? std::string() : text_of(v.get_object(), "sealed");
}

std::string without_token(const secret& url) {
    const auto text = url.reveal();
    const auto scheme = text.find("://");
    if (scheme == std::string_view::npos) return text.empty() ? "" : "***";
    const auto end = text.find_first_of("/?#", scheme + 3);
    if (end == std::string_view::npos || end + 1 == text.size()) return std::string(text);
    return std::string(text.substr(0, end)) + "/***";
}

}  // namespace kw::config
