// Answers in plain JSON, errors in the shape of the API that the holders' clients speak.
#include "admin/lease_api.hpp"

#include <boost/json.hpp>

#include "admin/fields.hpp"
#include "admin/holder_api.hpp"
#include "admin/values.hpp"

namespace kw::admin {
namespace {

using refusal = lease_desk::refusal;

net::control_response refuse_lease(refusal why) {
    switch (why) {
        case refusal::not_permitted:
            return refuse_holder(
                403, "lease_not_allowed",
                "This access key may not take leases: the operator can give it the "
                "permission \"lease\".");
        case refusal::no_such_group:
            return refuse_holder(400, "invalid_argument", "\"group\" names no group.");
        case refusal::bad_ttl:
            return refuse_holder(400, "invalid_argument",
                                 "\"ttl_s\" must be at least 1 and at most leases.max_ttl.");
        case refusal::no_key:
            return refuse_holder(503, "no_upstream_key",
                                 "No upstream key that this access key may use can be used now.");
        case refusal::all_taken:
            return refuse_holder(503, "all_leased",
                                 "Every upstream key is leased as often as it may "
                                 "be; try again when a lease has ended.");
        case refusal::unknown:
            return refuse_holder(404, "not_found", "There is no such lease.");
        case refusal::not_yours:
            return refuse_holder(403, "not_yours", "Another access key holds this lease.");
        case refusal::store_away:
            break;
    }
    return refuse_holder(503, "store_unavailable", "The store is out of reach; try again.");
}

net::control_response allocate(body_fields& in, const auth::access_key& key, lease_desk& desk,
                               const std::string& source) {
    const auto group = in.text("group", 64).value_or("");
    const auto ttl = in.whole("ttl_s");
    if (ttl && (*ttl == 0 || *ttl > 1'000'000'000)) return refuse_lease(refusal::bad_ttl);
    if (const auto ok = in.finish(); !ok)
        return refuse_holder(400, "invalid_argument", ok.error().context);
    const auto got = desk.allocate(key, group, std::chrono::seconds(ttl.value_or(0)), source);
    if (!got) {
        auto r = refuse_lease(got.error());
        if (got.error() == refusal::all_taken)
            r.headers.emplace_back("Retry-After", std::to_string(desk.next_end(key).count()));
        return r;
    }
    net::control_response r;
    json_writer w(r.body);
    // The one place where a lease's key leaves: its holder must learn it.
    w.begin_object()
        .field("lease_id", got->id)
        .field("key", got->key.reveal())
        .field("expires_in", got->expires_in.count())
        .field("expires_at", format_time(got->until))
        .end_object();
    return r;
}

net::control_response release(body_fields& in, const auth::access_key& key, lease_desk& desk) {
    const auto id = in.text("lease_id", 256);
    auto text = in.text("key", 16'384);
    if (id.has_value() == text.has_value())
        in.fault("lease_id", "or \"key\" must be given, not both");
    if (const auto ok = in.finish(); !ok)
        return refuse_holder(400, "invalid_argument", ok.error().context);
    const auto done =
        id ? desk.release(&key, *id) : desk.release_key(key, secret(std::move(*text)));
    if (!done) return refuse_lease(done.error());
    net::control_response r;
    json_writer w(r.body);
    w.begin_object().field("released", true).field("remaining", done->remaining).end_object();
    return r;
}

}  // namespace

net::control_response answer_lease_call(const net::control_request& request,
                                        const auth::access_key* key, lease_desk& desk) {
    const bool takes = request.path == "/api-keys/allocate";
    if (!takes && request.path != "/release")
        return refuse_holder(404, "not_found", "There is no such page here.");
    if (request.method != "POST") {
        auto r = refuse_holder(405, "method_not_allowed", "Only POST is allowed here.");
        r.headers.emplace_back("Allow", "POST");
        return r;
    }
    // Deleted since the worker looked, or a proxy that is open to all.
    if (key == nullptr || !auth::has_permission(*key, auth::permission_lease))
        return refuse_lease(refusal::not_permitted);
    const auto body = parse_object(request.body);
    if (!body) return refuse_holder(400, "invalid_json", body.error().context);
    body_fields in(*body);
    return takes ? allocate(in, *key, desk, request.source) : release(in, *key, desk);
}

}  // namespace kw::admin
