// Admins, sessions and tokens as JSON, and their texts.
#include "auth/admin_account.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>

#include "core/json_writer.hpp"

namespace kw::auth {
namespace {

namespace json = boost::json;

constexpr std::string_view session_prefix = "kws-";
constexpr std::string_view token_prefix = "kwt-";
constexpr std::size_t secret_size = 43;
constexpr std::size_t longest_id = 64;

bool is_base64url(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

// Reads members by type; a missing or foreign one makes the whole record unreadable.
class reader {
  public:
    explicit reader(const json::value& v) : object_(v.if_object()), ok_(object_ != nullptr) {}

    std::string text(std::string_view name) {
        const auto* v = find(name);
        if (v == nullptr || !v->is_string()) return fail(), std::string();
        return std::string(v->get_string());
    }
    bool flag(std::string_view name) {
        const auto* v = find(name);
        if (v == nullptr || !v->is_bool()) return fail(), false;
        return v->get_bool();
    }
    std::optional<wall_time> time_or_none(std::string_view name) {
        const auto* v = find(name);
        if (v == nullptr) return std::nullopt;
        constexpr std::int64_t last_ms = 9'000'000'000'000;
        if (!v->is_int64() || v->get_int64() < 0 || v->get_int64() > last_ms)
            return fail(), std::nullopt;
        return wall_time(std::chrono::milliseconds(v->get_int64()));
    }
    wall_time time(std::string_view name) {
        const auto t = time_or_none(name);
        if (!t) fail();
        return t.value_or(wall_time());
    }
    role which(std::string_view name) {
        const auto r = parse_role(text(name));
        if (!r) fail();
        return r.value_or(role::viewer);
    }
    const json::array* list(std::string_view name) {
        const auto* v = find(name);
        const auto* out = v == nullptr ? nullptr : v->if_array();
        if (out == nullptr) fail();
        return out;
    }
    void fail() noexcept { ok_ = false; }
    [[nodiscard]] bool ok() const noexcept { return ok_; }

  private:
    const json::value* find(std::string_view name) const {
        return object_ == nullptr ? nullptr : object_->if_contains(name);
    }
    const json::object* object_;
    bool ok_;
};

json::value parsed(const store::record& r) {
    boost::system::error_code failed;
    auto v = json::parse(r.json, failed);
    return failed ? json::value() : v;
}

error unreadable(const store::record& r) {
    return error(errc::invalid_argument, "the record " + r.kind + " " + r.id + " is damaged");
}

}  // namespace

bool valid_admin_name(std::string_view name) noexcept {
    return !name.empty() && name.size() <= 64 && std::ranges::all_of(name, [](char c) {
        return (is_base64url(c) || c == '.' || c == '@');
    });
}

std::string admin_id(std::string_view name) {
    const auto hash = crypto::sha256(lower(name));
    return "adm_" + crypto::to_hex(hash).substr(0, 20);
}

store::record to_record(const admin_account& a) {
    store::record out{std::string(admin_kind), a.id, a.revision, {}};
    json_writer w(out.json);
    w.begin_object().field("name", a.name).field("email", a.email);
    w.field("role", to_string(a.is)).field("disabled", a.disabled).field("password", a.password);
    w.field("created_ms", unix_ms(a.created));
    w.field("password_changed_ms", unix_ms(a.password_changed));
    w.key("sessions").begin_array();
    for (const auto& s : a.sessions)
        w.begin_object()
            .field("id", s.id)
            .field("hash", s.hash)
            .field("created_ms", unix_ms(s.created))
            .field("expires_ms", unix_ms(s.expires))
            .field("source", s.source)
            .end_object();
    w.end_array().end_object();
    return out;
}

result<admin_account> admin_from(const store::record& r) {
    const auto v = parsed(r);
    reader in(v);
    admin_account a;
    a.id = r.id;
    a.revision = r.revision;
    a.name = in.text("name");
    a.email = in.text("email");
    a.is = in.which("role");
    a.disabled = in.flag("disabled");
    a.password = in.text("password");
    a.created = in.time("created_ms");
    a.password_changed = in.time("password_changed_ms");
    if (const auto* all = in.list("sessions")) {
        for (const auto& one : *all) {
            reader s(one);
            a.sessions.push_back({s.text("id"), s.text("hash"), s.time("created_ms"),
                                  s.time("expires_ms"), s.text("source")});
            if (!s.ok()) in.fail();
        }
    }
    if (!in.ok()) return unreadable(r);
    return a;
}

void add_session(admin_account& to, admin_session s, wall_time now) {
    std::erase_if(to.sessions, [&](const admin_session& old) { return old.expires <= now; });
    if (to.sessions.size() >= admin_account::max_sessions)
        to.sessions.erase(to.sessions.begin(),
                          to.sessions.end() - (admin_account::max_sessions - 1));
    to.sessions.push_back(std::move(s));
}

store::record to_record(const admin_token& t) {
    store::record out{std::string(admin_token_kind), t.id, t.revision, {}};
    json_writer w(out.json);
    w.begin_object().field("name", t.name).field("role", to_string(t.is));
    w.key("routes").begin_array();
    for (const auto& prefix : t.routes)
        w.value(prefix);
    w.end_array().field("hash", t.hash).field("masked", t.masked).field("made_by", t.made_by);
    w.field("created_ms", unix_ms(t.created));
    if (t.expires) w.field("expires_ms", unix_ms(*t.expires));
    w.end_object();
    return out;
}

result<admin_token> admin_token_from(const store::record& r) {
    const auto v = parsed(r);
    reader in(v);
    admin_token t;
    t.id = r.id;
    t.revision = r.revision;
    t.name = in.text("name");
    t.is = in.which("role");
    if (const auto* all = in.list("routes")) {
        for (const auto& one : *all) {
            if (one.is_string())
                t.routes.emplace_back(one.get_string());
            else
                in.fail();
        }
    }
    t.hash = in.text("hash");
    t.masked = in.text("masked");
    t.made_by = in.text("made_by");
    t.created = in.time("created_ms");
    t.expires = in.time_or_none("expires_ms");
    if (!in.ok()) return unreadable(r);
    return t;
}

bool within(const std::vector<std::string>& routes, std::string_view path) noexcept {
    return routes.empty() || std::ranges::any_of(routes, [&](std::string_view prefix) {
               return path.starts_with(prefix) &&
                      (path.size() == prefix.size() || path[prefix.size()] == '/');
           });
}

secret make_admin_text(admin_text is, std::string_view id) {
    std::array<std::uint8_t, 32> bytes;
    crypto::random_bytes(bytes);
    std::string text;
    text.reserve(session_prefix.size() + id.size() + 1 + secret_size);  // leaves no copy behind
    text.append(is == admin_text::token ? token_prefix : session_prefix).append(id).append("-");
    text.append(secret(crypto::to_base64url(bytes)).reveal());
    bytes.fill(0);
    return secret(std::move(text));
}

admin_credential read_admin_text(std::string_view text) noexcept {
    admin_credential out;
    if (text.starts_with(session_prefix)) out.is = admin_text::session;
    if (text.starts_with(token_prefix)) out.is = admin_text::token;
    if (out.is == admin_text::none) return {};
    text.remove_prefix(session_prefix.size());
    if (text.size() < secret_size + 2 || text.size() > longest_id + secret_size + 1 ||
        text[text.size() - secret_size - 1] != '-' || !std::ranges::all_of(text, is_base64url))
        return {};
    out.id = text.substr(0, text.size() - secret_size - 1);
    return out;
}

std::string hash_admin_text(const secret& text, const secret& pepper) {
    crypto::hmac_sha256 hash(pepper);
    return crypto::to_hex(hash("admin\n" + std::string(text.reveal())));
}

std::string csrf_text(const secret& session, const secret& pepper) {
    crypto::hmac_sha256 hash(pepper);
    return crypto::to_base64url(hash("csrf\n" + std::string(session.reveal())));
}

}  // namespace kw::auth
