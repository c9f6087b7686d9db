// Sessions: login, logout, who am I, one's own password.
#include "admin/login.hpp"

#include <boost/json.hpp>
#include <memory>

#include "admin/doorman.hpp"
#include "admin/handlers.hpp"
#include "config/settings.hpp"
#include "core/password.hpp"

namespace kw::admin {
namespace {

constexpr std::string_view cookie_name = "kw_session";
constexpr std::size_t min_password = 12;
constexpr std::size_t max_password = 256;

reply busy() {
    auto out = refuse(429, "busy", "too many logins at a time: try again");
    out.headers.emplace_back("Retry-After", "1");
    return out;
}

// The same for a wrong password, a name that does not exist and an account that is disabled.
reply wrong_login() {
    return refuse(401, "invalid_login", "name or password is wrong");
}

reply held_up(std::chrono::milliseconds wait) {
    auto out = refuse(429, "too_many_guesses", "too many wrong logins: wait");
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(wait).count();
    out.headers.emplace_back("Retry-After", std::to_string(seconds));
    return out;
}

std::string cookie(std::string_view text, std::chrono::seconds lifetime, bool secure) {
    std::string out(cookie_name);
    out.append("=").append(text).append("; Path=/admin; HttpOnly; SameSite=Strict; Max-Age=");
    out.append(std::to_string(lifetime.count()));
    if (secure) out.append("; Secure");
    return out;
}

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& ch : out)
        if (ch >= 'A' && ch <= 'Z') ch = static_cast<char>(ch - 'A' + 'a');
    return out;
}

// By name or by e-mail; an address of two accounts means neither.
const auth::admin_account* find_account(const catalogue& records, const std::string& who) {
    const auto by_name = records.admins().find(auth::admin_id(who));
    if (by_name != records.admins().end()) return &by_name->second;
    const auth::admin_account* found = nullptr;
    for (const auto& [id, a] : records.admins()) {
        if (a.email.empty() || lower(a.email) != lower(who)) continue;
        if (found != nullptr) return nullptr;
        found = &a;
    }
    return found;
}

// Compares on the helper thread; false: too much waits.
bool compare_aside(const admin_services& services, secret password, std::string stored,
                   std::function<void(bool)> then) {
    auto same = std::make_shared<bool>(false);
    auto work = [same, password = std::move(password), stored = std::move(stored)] {
        *same = password_matches(password, stored);
    };
    auto after = [same, then = std::move(then)] { then(*same); };
    if (services.aside) return services.aside(std::move(work), std::move(after));
    work();
    after();
    return true;
}

struct login {
    act what;
    std::string source;
    std::string throttled;  // the name as it is held up
    std::string account;    // "" : there is none
    std::string compared;   // the stored password that was looked at
    bool as_cookie = true;
    bool secure = false;
    std::chrono::milliseconds lifetime{};
};

reply open_session(const admin_services& services, const login& l) {
    const auto now = services.clock.wall();
    const auto text = auth::make_admin_text(auth::admin_text::session, l.account);
    random_source random;
    const auth::admin_session session{make_id("ses_", now, random),
                                      auth::hash_admin_text(text, services.pepper), now,
                                      now + l.lifetime, l.source};
    const auto written =
        change_account(services, l.what, "login", l.account, [&](auth::admin_account& a) {
            // Disabled, or the password changed, while this one was being compared.
            if (a.disabled || a.password != l.compared) return false;
            auth::add_session(a, session, now);
            return true;
        });
    if (!written) {
        return written.error().code == errc::store_unavailable ? refuse(written.error())
                                                               : wrong_login();
    }
    std::string data;
    json_writer w(data);
    w.begin_object().key("admin");
    write_admin(w, *written, now, false);
    write_time(w, "expires_at", session.expires);
    if (l.as_cookie)
        w.field("csrf_token", auth::csrf_text(text, services.pepper));
    else
        w.field("token", text.reveal());
    w.end_object();
    auto out = answer(data);
    if (l.as_cookie) {
        const auto lifetime = std::chrono::duration_cast<std::chrono::seconds>(l.lifetime);
        out.headers.emplace_back("Set-Cookie", cookie(text.reveal(), lifetime, l.secure));
    }
    return out;
}

}  // namespace

secret new_password(body_fields& in, std::string_view name) {
    const auto text = in.text(name, max_password);
    if (!text) return {};
    secret out{std::string(*text)};
    if (out.size() < min_password)
        in.fault(name, "must have at least " + std::to_string(min_password) + " characters");
    return out;
}

void hash_aside(call& c, secret password, std::function<reply(const std::string& hash)> then) {
    c.traced = true;
    c.later = [aside = c.services.aside, password = std::move(password),
               then = std::move(then)](const std::function<void(reply)>& done) {
        auto hash = std::make_shared<std::string>();
        auto work = [hash, password] { *hash = hash_password(password); };
        auto after = [hash, then, done] { done(then(*hash)); };
        if (!aside) {
            work();
            after();
        } else if (!aside(work, after)) {
            done(busy());
        }
    };
}

result<auth::admin_account> change_account(
    const admin_services& services, const act& what, std::string_view event, const std::string& id,
    const std::function<bool(auth::admin_account&)>& change) {
    const trail::scope traced(services.store, what, event);
    for (int tries = 0;; ++tries) {
        const auto record = services.store.get(auth::admin_kind, id);
        if (!record) return record.error();
        auto account = auth::admin_from(*record);
        if (!account) return account;
        if (!change(*account))
            return error(errc::store_conflict, "the account was changed meanwhile");
        const auto written = services.store.put(auth::to_record(*account));
        if (written) {
            account->revision = *written;
            return account;
        }
        if (written.error().code != errc::store_conflict || tries == 4) return written.error();
    }
}

void write_admin(json_writer& w, const auth::admin_account& a, wall_time now, bool sessions) {
    w.begin_object().field("id", a.id).field("name", a.name).field("email", a.email);
    w.field("role", to_string(a.is)).field("disabled", a.disabled);
    write_time(w, "created", a.created);
    write_time(w, "password_changed", a.password_changed);
    if (sessions) {
        w.key("sessions").begin_array();
        for (const auto& s : a.sessions) {
            if (s.expires <= now) continue;
            w.begin_object().field("id", s.id).field("source", s.source);
            write_time(w, "created", s.created);
            write_time(w, "expires_at", s.expires);
            w.end_object();
        }
        w.end_array();
    }
    w.field("revision", a.revision).end_object();
}

result<reply> log_in(call& c) {
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    auto name = in.text("name", 256);
    const auto email = in.text("email", 256);
    if (name && email) in.fault("email", "is given beside \"name\"");
    if (!name) name = email;
    const auto password = in.text("password", max_password);
    const auto* as_cookie = in.take("cookie");
    if (as_cookie != nullptr && !as_cookie->is_bool()) in.fault("cookie", "must be true or false");
    if (!name || name->empty()) in.fault("name", "is missing");
    if (!password) in.fault("password", "is missing");
    if (const auto ok = in.finish(); !ok) return ok.error();

    auto l = std::make_shared<login>();
    l->source = c.request.source;
    l->throttled = lower(*name);
    if (const auto wait = c.door.login_wait(l->source, l->throttled); wait.count() > 0) {
        c.door.note_refusal("throttled", l->source);
        return held_up(wait);
    }
    const auto* account = find_account(c.records, *name);
    const bool usable = account != nullptr && !account->disabled;
    l->account = usable ? account->id : std::string();
    l->compared = usable ? account->password : std::string(nobodys_password());
    l->as_cookie = as_cookie == nullptr || as_cookie->get_bool();
    l->secure = c.request.secure;
    l->lifetime = c.services.settings()->admin.session_lifetime;
    l->what = c.what;
    if (usable)
        l->what.who = {.kind = caller_kind::session,
                       .id = account->id,
                       .name = account->name,
                       .is = account->is,
                       .routes = {},
                       .session_id = {},
                       .session_text = {},
                       .by_cookie = false};
    l->what.subject = l->account;
    c.traced = true;
    c.later = [services = &c.services, door = &c.door, l,
               password = secret(*password)](const std::function<void(reply)>& done) {
        const auto after = [services, door, l, password, done](bool same) {
            if (!same || l->account.empty()) {
                door->note_refusal("login", l->source,
                                   l->throttled + "\n" + std::string(password.reveal()));
                return done(wrong_login());
            }
            auto out = open_session(*services, *l);
            if (out.status == 200) {
                door->end_login(l->source, l->throttled);
                door->note_login();
            }
            done(std::move(out));
        };
        // Counted before it is known, so that many at once are not all free.
        door->begin_login(l->source, l->throttled);
        if (compare_aside(*services, password, l->compared, after)) return;
        door->undo_login(l->source, l->throttled);
        done(busy());
    };
    return reply();
}

result<reply> log_out(call& c) {
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (c.what.who.kind != caller_kind::session)
        return error(errc::invalid_argument, "only a session can be ended so");
    c.traced = true;
    const auto done =
        change_account(c.services, c.what, "logout", c.what.who.id, [&](auth::admin_account& a) {
            std::erase_if(a.sessions, [&](const auth::admin_session& s) {
                return s.id == c.what.who.session_id;
            });
            return true;
        });
    if (!done) return done.error();
    auto out = answer("{}");
    out.headers.emplace_back("Set-Cookie", cookie("", std::chrono::seconds(0), c.request.secure));
    return out;
}

result<reply> show_me(call& c) {
    if (const auto ok = c.query().finish(); !ok) return ok.error();
    const auto& who = c.what.who;
    constexpr std::string_view kinds[] = {"nobody", "admin_key", "session", "token"};
    std::string data;
    json_writer w(data);
    w.begin_object().field("kind", kinds[static_cast<std::size_t>(who.kind)]);
    w.field("id", who.id).field("name", who.name).field("role", to_string(who.is));
    write_texts(w, "routes", who.routes);
    if (who.kind == caller_kind::session) {
        const auto a = c.records.admins().find(who.id);
        if (a != c.records.admins().end()) {
            w.field("email", a->second.email);
            for (const auto& s : a->second.sessions)
                if (s.id == who.session_id) write_time(w, "expires_at", s.expires);
        }
        if (who.by_cookie)
            w.field("csrf_token", auth::csrf_text(who.session_text, c.services.pepper));
    }
    w.end_object();
    return answer(data);
}

result<reply> change_my_password(call& c) {
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    const auto current = in.text("current", max_password);
    const auto password = new_password(in, "password");
    if (!current) in.fault("current", "is missing");
    if (password.empty()) in.fault("password", "is missing");
    if (const auto ok = in.finish(); !ok) return ok.error();
    const auto account = c.records.admins().find(c.what.who.id);
    if (c.what.who.kind != caller_kind::session || account == c.records.admins().end())
        return error(errc::invalid_argument, "only an admin with a session has a password");
    const auto source = c.request.source;
    const auto name = lower(account->second.name);
    if (const auto wait = c.door.login_wait(source, name); wait.count() > 0) return held_up(wait);
    c.traced = true;
    c.later = [services = &c.services, door = &c.door, what = c.what, source, name,
               old = secret(*current), compared = account->second.password,
               password](const std::function<void(reply)>& done) {
        const auto set = [services, what, compared, done](const std::string& hash) {
            const auto written =
                change_account(*services, what, "change", what.who.id, [&](auth::admin_account& a) {
                    if (a.disabled || a.password != compared) return false;
                    a.password = hash;
                    a.password_changed = services->clock.wall();
                    // All but the one that asks.
                    std::erase_if(a.sessions, [&](const auth::admin_session& s) {
                        return s.id != what.who.session_id;
                    });
                    return true;
                });
            done(written ? answer("{}") : refuse(written.error()));
        };
        const auto after = [services, door, source, name, password, set, done](bool same) {
            if (!same) {
                door->note_refusal("login", source);
                return done(refuse(400, "wrong_password", "field \"current\" is not the password"));
            }
            door->end_login(source, name);
            auto hash = std::make_shared<std::string>();
            auto work = [hash, password] { *hash = hash_password(password); };
            auto then = [hash, set] { set(*hash); };
            if (!services->aside) {
                work();
                then();
            } else if (!services->aside(work, then)) {
                done(busy());
            }
        };
        door->begin_login(source, name);
        if (compare_aside(*services, old, compared, after)) return;
        door->undo_login(source, name);
        done(busy());
    };
    return reply();
}

}  // namespace kw::admin
