// The gate: the check of the caller, the search for the route, the call of its handler.
#include "admin/admin_api.hpp"

#include <algorithm>
#include <exception>

#include "admin/handlers.hpp"
#include "core/json_writer.hpp"
#include "core/log.hpp"
#include "core/metrics.hpp"
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

void add_retry_after(reply& r, std::chrono::milliseconds wait) {
    if (wait.count() <= 0) return;
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(wait).count();
    r.headers.emplace_back("Retry-After", std::to_string(seconds));
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

}  // namespace

// The only maker of calls: past admit() there is an allowed caller, before it no route is known.
class gate {
  public:
    gate(admin_services services, auth::admin_guard guard, random_source random)
        : services_(std::move(services)),
          guard_(std::move(guard)),
          random_(random),
          records_(services_.store, services_.sealer, services_.pepper, services_.declared_groups) {
    }

    // The answer, or what brings it about.
    struct outcome {
        reply now;
        decltype(call::later) later;
    };

    outcome admit(const net::control_request& request) {
        const auto verdict =
            guard_.check(request.admin_key.reveal(), request.source, services_.clock.mono());
        reply out;
        switch (verdict.verdict) {
            case auth::admin_verdict::allowed:
                return dispatch(request);
            case auth::admin_verdict::disabled:
                return {refuse(403, "admin_disabled",
                               "the admin API is off: set auth.admin_key (ADMIN_ACCESS_KEY) to a "
                               "secret of 16 characters or more"),
                        {}};
            case auth::admin_verdict::missing:
                return {refuse(401, "missing_admin_key", "send the admin secret as x-admin-key"),
                        {}};
            case auth::admin_verdict::wrong:
                out = refuse(401, "invalid_admin_key", "x-admin-key is wrong");
                break;
            case auth::admin_verdict::wait:
                out = refuse(429, "too_many_guesses",
                             "too many wrong x-admin-key values from this address: wait");
                break;
        }
        log::event(log::level::warn, "admin.refused",
                   {{"source", request.source},
                    {"request_id", request.request_id},
                    {"status", out.status}});
        add_retry_after(out, verdict.retry_after);
        return {std::move(out), {}};
    }

    void set_guard(auth::admin_guard guard) { guard_ = std::move(guard); }
    [[nodiscard]] const admin_services& services() const noexcept { return services_; }

  private:
    outcome dispatch(const net::control_request& request) {
        call c(services_, records_, random_, request);
        outcome out;
        out.now = find_and_run(c);
        out.later = std::move(c.later);
        return out;
    }

    reply find_and_run(call& c) {
        const auto& request = c.request;
        if (request.body.size() > admin_api::max_body)
            return refuse(413, to_string(errc::body_too_large), "the body is larger than 8 MiB");
        const auto path = segments(request.path);
        std::string allow;
        for (const route& r : route_table()) {
            if (!fits(r.info.path, path, c.id)) continue;
            if (r.info.method == request.method) return run(r, c);
            if (allow.find(r.info.method) == std::string::npos)
                allow.append(allow.empty() ? "" : ", ").append(r.info.method);
        }
        if (allow.empty()) return refuse(404, "unknown_path", "there is no such admin route");
        auto out = refuse(405, "method_not_allowed", "this route takes " + allow);
        out.headers.emplace_back("Allow", allow);
        return out;
    }

    reply run(const route& r, call& c) {
        if (r.records) {
            if (const auto synced = records_.sync(); !synced) return refuse(synced.error());
        }
        auto done = r.run(c);
        auto out = done ? std::move(*done) : refuse(done.error());
        if (r.info.method == "GET") return out;
        // Also after a failure: a batch may have been written in part.
        if (services_.changed) services_.changed();
        if (out.status < 300) {
            log::event(log::level::info, "admin.change",
                       {{"method", r.info.method},
                        {"route", r.info.path},
                        {"id", c.id},
                        {"source", c.request.source},
                        {"request_id", c.request.request_id}});
        }
        return out;
    }

    admin_services services_;
    auth::admin_guard guard_;
    random_source random_;
    catalogue records_;
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
    if (out.later) return out.later(done);
    done(std::move(out.now));
}

void admin_api::set_guard(auth::admin_guard guard) {
    impl_->gate.set_guard(std::move(guard));
}

}  // namespace kw::admin
