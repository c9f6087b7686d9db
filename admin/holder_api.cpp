// Answers in the shape of the API that the holders' clients speak.
#include "admin/holder_api.hpp"

#include "admin/limit_view.hpp"
#include "admin/values.hpp"
#include "core/error.hpp"
#include "store/store.hpp"

namespace kw::admin {
namespace {

constexpr std::string_view requests_path = "/v1/keywheel/requests/";

std::string_view name_of(store::usage_outcome outcome) noexcept {
    switch (outcome) {
        case store::usage_outcome::exact:
            return "exact";
        case store::usage_outcome::estimated:
            return "estimated";
        case store::usage_outcome::none:
            break;
    }
    return "none";
}

net::control_response show_self(const holder_services& with) {
    if (with.key == nullptr)
        return refuse_holder(404, "not_found",
                             "Requests need no access key here, so none is shown.");
    const auth::access_key& key = *with.key;
    const auto usage = peek_now(with.admission, {&key});
    net::control_response r;
    json_writer w(r.body);
    w.begin_object().field("id", key.id).field("object", "keywheel.access_key");
    w.field("name", key.name).field("masked", key.masked);
    write_time(w, "expires_at", key.expires_at);
    write_texts(w, "models_allow", key.options->models_allow);
    write_texts(w, "models_deny", key.options->models_deny);
    write_texts(w, "endpoints", key.options->endpoints);
    w.key("limits");
    write_limit_usage(w, key.limits, usage.empty() ? store::usage_answer{} : usage.begin()->second);
    w.end_object();
    return r;
}

net::control_response show_request(const holder_services& with, const std::string& id) {
    const auto record = with.store.find_record(id);
    if (!record && record.error().code == errc::store_unavailable)
        return refuse_holder(503, "store_unavailable", "The store is out of reach; try again.");
    const bool own = record && (with.key == nullptr || record->access_key_id == with.key->id);
    if (!own)
        return refuse_holder(404, "not_found",
                             "No request of this access key has that id (x-keywheel-request-id); a "
                             "record appears within a second of the request's end.");
    net::control_response r;
    json_writer w(r.body);
    w.begin_object().field("id", record->id).field("object", "keywheel.request");
    write_time(w, "started", record->started);
    w.field("endpoint", record->endpoint).field("status", record->status);
    w.field("model_asked", record->model_asked).field("model_served", record->model_served);
    w.field("outcome", name_of(record->outcome)).field("attempts", record->attempts);
    write_tokens(w, "tokens", record->tokens);
    write_money(w, "cost", record->rated_cost);
    w.end_object();
    return r;
}

}  // namespace

net::control_response refuse_holder(std::uint16_t status, std::string_view code,
                                    std::string_view message) {
    net::control_response r;
    r.status = status;
    json_writer w(r.body);
    w.begin_object().key("error").begin_object();
    w.field("message", message);
    w.field("type", status >= 500 ? "server_error" : "invalid_request_error");
    w.key("param").null();
    w.field("code", code).end_object().end_object();
    return r;
}

net::control_response answer_holder(const net::control_request& request,
                                    const holder_services& with) {
    const bool self = request.path == "/v1/keywheel/me";
    if (!self && !request.path.starts_with(requests_path))
        return refuse_holder(404, "not_found", "There is no such page under /v1/keywheel.");
    if (request.method != "GET")
        return refuse_holder(405, "method_not_allowed", "Only GET is allowed here.");
    // Deleted since the worker looked.
    if (with.key == nullptr && !request.access_key_id.empty())
        return refuse_holder(401, "invalid_api_key", "This access key is not known any more.");
    return self ? show_self(with) : show_request(with, request.path.substr(requests_path.size()));
}

}  // namespace kw::admin
