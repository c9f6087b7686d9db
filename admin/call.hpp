// One admitted request on its way through a handler, and the answers that handlers give. Only the
// gate makes a `call`, after its check, so no handler can run without one.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/admin_api.hpp"
#include "admin/caller.hpp"
#include "admin/catalogue.hpp"
#include "admin/fields.hpp"
#include "admin/trail.hpp"
#include "core/error.hpp"
#include "store/types.hpp"

namespace kw::admin {

using reply = net::control_response;

class doorman;
class live_log;

class call {
  public:
    const admin_services& services;
    catalogue& records;
    random_source& random;
    const net::control_request& request;
    // What stood in the place of {…} in the route's path, decoded.
    std::string id;
    // Set by a handler whose answer comes later, when this has called what it is given; the reply
    // that it returned is not sent. It may use the services, not the call.
    std::function<void(std::function<void(reply)>)> later;
    // Who calls what; an answer that comes later takes a copy along for its own trail::scope.
    act what;
    // The handler has seen to the audit trail itself.
    bool traced = false;
    // These outlive every answer.
    doorman& door;
    live_log& live;

    [[nodiscard]] query_fields query() const {
        return {request.query, query_params(what.method, what.route)};
    }
    [[nodiscard]] result<boost::json::object> body() const;

    call(const call&) = delete;
    call& operator=(const call&) = delete;

  private:
    friend class gate;
    call(const admin_services& s, catalogue& c, random_source& r, const net::control_request& q,
         doorman& d, live_log& l)
        : services(s), records(c), random(r), request(q), door(d), live(l) {}
};

// {"success": true, "data": …}; the revision also as ETag.
[[nodiscard]] reply answer(std::string_view data, std::optional<std::uint64_t> revision = {},
                           std::uint16_t status = 200);
// {"success": false, "message": …, "data": {"code": …}}
[[nodiscard]] reply refuse(std::uint16_t status, std::string_view code, std::string_view message);
[[nodiscard]] reply refuse(const error& e);
// 409 that tells the stored revision.
[[nodiscard]] reply conflict(std::uint64_t current);

// The revision that the caller means (If-Match, or the body's `revision`), or the stored one where
// none is named. `stale` is set if it is not the stored one.
[[nodiscard]] result<bool> is_stale(const call& c, body_fields* body, std::uint64_t stored);

// Writes; on a conflict the 409 lies in `refused`. The new revision otherwise.
[[nodiscard]] result<std::uint64_t> write(call& c, const store::record& r,
                                          std::optional<reply>& refused);

// The base URL in its normal form; errc::invalid_argument for one that may not be used.
[[nodiscard]] result<std::string> checked_base_url(const call& c, const std::string& text);

}  // namespace kw::admin
