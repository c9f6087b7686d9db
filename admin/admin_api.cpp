// The gate: the check of the caller, the search for the route, the call of its handler.
#include "admin/admin_api.hpp"

#include <algorithm>
#include <exception>

#include "admin/doorman.hpp"
#include "admin/handlers.hpp"
#include "admin/live_log.hpp"
#include "admin/trail.hpp"
#include "auth/admin_account.hpp"
#include "config/settings.hpp"
#include "core/json_writer.hpp"
#include "core/log.hpp"
#include "core/log_history.hpp"
#include "core/metrics.hpp"
#include "net/address.hpp"
#include "net/url.hpp"
#include "store/journal_shipper.hpp"

namespace kw::admin {
namespace {

std::vector<std::string_view> segments(std::string_view path) {
    std::vector<std::string_view> out;
    while (!path.empty()) {
        path.remove_prefix(1);  // the slash
        const auto end = std::min(path.find('/'), path.size());
        out.push_back(path.substr(0, end));
        path.remove_prefix(end);
    }
    return out;
}

// Whether the path is one of the pattern's; then `id` is what stands for {…}.
bool fits(std::string_view pattern, const std::vector<std::string_view>& path, std::string& id) {
    const auto parts = segments(pattern);
    if (parts.size() != path.size()) return false;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        if (parts[i].starts_with('{')) {
            const auto decoded = net::percent_decode(path[i]);
            if (!decoded || decoded->empty()) return false;
            id = *decoded;
        } else if (parts[i] != path[i]) {
            return false;
        }
    }
    return true;
}

reply metrics(metrics::registry& of, std::string_view method) {
    reply out;
    if (method == "GET" || method == "HEAD") {
        out.content_type = "text/plain; version=0.0.4; charset=utf-8";
        out.body = of.render();
        return out;
    }
    out = refuse(405, "method_not_allowed", "this route takes GET");
    out.headers.emplace_back("Allow", "GET, HEAD");
    return out;
}

constexpr std::size_t max_login_body = 8 * 1024;
constexpr auto summary_interval = std::chrono::minutes(1);
constexpr auto review_interval = std::chrono::seconds(5);

}  // namespace

// The only maker of calls: past admit() there is an allowed caller, before it no route is known.
class gate {
  public:
    gate(admin_services services, auth::admin_guard guard, random_source random)
        : services_(std::move(services)),
          trail_(services_.store),
          random_(random),
          records_({.store = services_.store,
                    .sealer = services_.sealer,
                    .pepper = services_.pepper,
                    .declared = services_.declared_groups,
                    .access_keys = services_.access_keys,
                    .follow = services_.follow}),
          door_(std::move(guard), records_, services_.pepper, services_.clock, services_.registry,
                services_.noticed) {}

    // The answer, or what brings it about.
    struct outcome {
        reply now;
        decltype(call::later) later;
    };

    outcome admit(const net::control_request& request) {
        const auto settings = services_.settings();
        if (auto refused = refuse_address(request, settings->admin)) return {*refused, {}};
        if (!door_.enabled())
            return {refuse(403, "admin_disabled",
                           "the admin API is off: set auth.admin_key (ADMIN_ACCESS_KEY) to a "
                           "secret of 16 characters or more"),
                    {}};
        const bool known_page = !request.origin.empty() &&
                                std::ranges::find(settings->admin.allow_origins, request.origin) !=
                                    settings->admin.allow_origins.end();
        if (known_page && request.method == "OPTIONS") {
            reply out;
            out.status = 204;
            out.headers = {{"Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE"},
                           {"Access-Control-Allow-Headers",
                            "authorization, content-type, if-match, x-admin-key"},
                           {"Access-Control-Max-Age", "600"}};
            allow_page(out, request.origin);
            return {std::move(out), {}};
        }
        auto out = let_in(request, known_page);
        if (!known_page) return out;
        allow_page(out.now, request.origin);
        if (out.later) {
            out.later = [page = request.origin,
                         later = std::move(out.later)](const std::function<void(reply)>& done) {
                later([page, done](reply r) {
                    allow_page(r, page);
                    done(std::move(r));
                });
            };
        }
        return out;
    }

    void tick() {
        const auto now = services_.clock.mono();
        if (now >= next_review_ && live_.any()) {
            next_review_ = now + review_interval;
            // With the store away, what was known last holds.
            static_cast<void>(records_.sync());
            live_.review([this](const caller& who) { return door_.still_in(who); });
        }
        if (now < next_summary_) return;
        next_summary_ = now + summary_interval;
        const auto refused = door_.take_summary();
        if (refused.empty()) return;
        keep(trail_.note({}, "refused", [&](json_writer& w) {
            w.key("sources").begin_object();
            for (const auto& [source, count] : refused)
                w.field(source, count);
            w.end_object();
        }));
    }

    void set_guard(auth::admin_guard guard) {
        door_.set_guard(std::move(guard));
        live_.review([](const caller& who) { return who.kind != caller_kind::admin_key; });
    }
    [[nodiscard]] const admin_services& services() const noexcept { return services_; }

  private:
    std::optional<reply> refuse_address(const net::control_request& request,
                                        const config::admin_settings& settings) {
        if (settings.allow_ips.empty()) return std::nullopt;
        const auto networks = net::cidr_set::parse(settings.allow_ips);
        const auto address = net::ip_address::parse(request.source);
        if (networks && address && networks->contains(*address)) return std::nullopt;
        door_.note_refusal("address", request.source);
        return refuse(403, "ip_not_allowed", "this address may not reach the admin API");
    }

    static void allow_page(reply& r, const std::string& origin) {
        r.headers.emplace_back("Access-Control-Allow-Origin", origin);
        r.headers.emplace_back("Access-Control-Expose-Headers",
                               "etag, retry-after, x-keywheel-request-id");
        r.headers.emplace_back("Vary", "Origin");
    }

    outcome let_in(const net::control_request& request, bool known_page) {
        const auto path = segments(request.path);
        std::string id;
        for (const route& r : route_table()) {
            if (!r.info.open || r.info.method != request.method || !fits(r.info.path, path, id))
                continue;
            if (!known_page) {
                if (auto foreign = door_.refuse_foreign(request)) return {*foreign, {}};
            }
            if (request.head_only) return {proceed(max_login_body), {}};
            if (request.body.size() > max_login_body)
                return {refuse(413, to_string(errc::body_too_large), "the body is too large"), {}};
            return dispatch(r, request, {}, std::move(id), false);
        }
        auto verdict = door_.identify(request);
        if (!verdict.who) return {std::move(verdict.refused), {}};
        return find_route(request, std::move(*verdict.who), verdict.synced);
    }

    outcome find_route(const net::control_request& request, caller who, bool synced) {
        const auto path = segments(request.path);
        std::string id;
        std::string allow;
        for (const route& r : route_table()) {
            if (!fits(r.info.path, path, id)) continue;
            if (r.info.method == request.method) {
                if (auto refused = refuse_rights(r, request, who)) return {*refused, {}};
                if (request.head_only) return {proceed(r.most), {}};
                if (request.body.size() > r.most)
                    return {
                        refuse(413, to_string(errc::body_too_large),
                               "the body is larger than " + std::to_string(r.most >> 20U) + " MiB"),
                        {}};
                return dispatch(r, request, std::move(who), std::move(id), synced);
            }
            if (allow.find(r.info.method) == std::string::npos)
                allow.append(allow.empty() ? "" : ", ").append(r.info.method);
        }
        if (allow.empty()) return {refuse(404, "unknown_path", "there is no such admin route"), {}};
        auto out = refuse(405, "method_not_allowed", "this route takes " + allow);
        out.headers.emplace_back("Allow", allow);
        return {std::move(out), {}};
    }

    static reply proceed(std::size_t most) {
        reply out;
        out.status = 100;
        out.read_up_to = most;
        return out;
    }

    std::optional<reply> refuse_rights(const route& r, const net::control_request& request,
                                       const caller& who) {
        if (who.is < r.info.least) {
            door_.note_refusal("role", request.source);
            return refuse(403, "role_too_low",
                          "this route takes the role " + std::string(to_string(r.info.least)));
        }
        // A token that is bound to some routes cannot make itself a wider one.
        const bool widens = who.kind == caller_kind::token && !who.routes.empty() &&
                            (request.path.starts_with("/admin/tokens") ||
                             request.path.starts_with("/admin/admins"));
        if (!auth::within(who.routes, request.path) || widens) {
            door_.note_refusal("scope", request.source);
            return refuse(403, "outside_scope", "this token is not for this route");
        }
        return door_.refuse_forged(request, who);
    }

    outcome dispatch(const route& r, const net::control_request& request, caller who,
                     std::string id, bool synced) {
        call c(services_, records_, random_, request, door_, live_);
        c.what = {.who = std::move(who),
                  .method = std::string(r.info.method),
                  .route = std::string(r.info.path),
                  .subject = id,
                  .source = request.source,
                  .request_id = request.request_id};
        c.id = std::move(id);
        if (const auto ok = c.query().check_names(); !ok) return {refuse(ok.error()), {}};
        outcome out;
        out.now = run(r, c, synced);
        out.later = std::move(c.later);
        return out;
    }

    // Said loudly where it fails: the trail has a gap.
    bool keep(const result<void>& written) {
        if (written) return true;
        door_.note_lost_entry();
        log::event(log::level::error, "audit.not_written", {{"reason", written.error().context}});
        return false;
    }

    reply run(const route& r, call& c, bool synced) {
        if (r.records && !synced) {
            if (const auto done = records_.sync(); !done) return refuse(done.error());
        }
        const trail::scope traced(trail_, c.what);
        // What shows secrets is written down before it shows them.
        if (r.reveals && !keep(trail_.note(c.what, "export")))
            return refuse(503, to_string(errc::store_unavailable),
                          "the audit trail cannot be written, so nothing is shown");
        auto done = r.run(c);
        auto out = done ? std::move(*done) : refuse(done.error());
        if (r.info.method == "GET") return out;
        // Also after a failure: a batch may have been written in part.
        if (services_.changed) services_.changed();
        if (out.status >= 300) return out;
        // What changed no record, as the test of a key.
        if (traced.entries() == 0 && !c.traced) keep(trail_.note(c.what, "call"));
        log::event(log::level::info, "admin.change",
                   {{"method", r.info.method},
                    {"route", r.info.path},
                    {"id", c.id},
                    {"actor", c.what.who.name},
                    {"source", c.request.source},
                    {"request_id", c.request.request_id}});
        return out;
    }

    admin_services services_;
    trail& trail_;
    random_source random_;
    catalogue records_;
    doorman door_;
    live_log live_{log::recent(),
                   static_cast<std::uint64_t>(services_.clock.wall().time_since_epoch().count())};
    mono_time next_summary_{};
    mono_time next_review_{};
};

struct admin_api::impl {
    class gate gate;
};

admin_api::admin_api(admin_services services, auth::admin_guard guard, random_source random)
    : impl_(new impl{gate(std::move(services), std::move(guard), random)}) {}
admin_api::~admin_api() = default;

void admin_api::handle(const net::control_request& request,
                       const std::function<void(net::control_response)>& done) {
    gate::outcome out;
    try {
        out = request.path == "/metrics"
                  ? gate::outcome{metrics(impl_->gate.services().registry, request.method), {}}
                  : impl_->gate.admit(request);
    } catch (const std::exception& e) {
        // Out of memory, or a mistake of ours; what() of either holds nothing of the request.
        log::event(log::level::error, "admin.failed", {{"reason", e.what()}});
        out = {refuse(500, to_string(errc::internal), "internal error"), {}};
    }
    const auto sign = [id = request.request_id](reply& r) {
        if (!id.empty()) r.headers.emplace_back("x-keywheel-request-id", id);
    };
    if (out.later) {
        return out.later([done, sign](reply r) {
            sign(r);
            done(std::move(r));
        });
    }
    sign(out.now);
    done(std::move(out.now));
}

void admin_api::tick() {
    impl_->gate.tick();
}

void admin_api::set_guard(auth::admin_guard guard) {
    impl_->gate.set_guard(std::move(guard));
}

}  // namespace kw::admin
