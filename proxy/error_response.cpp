// The table from error code to status and type, and the bodies made from it.
#include "proxy/error_response.hpp"

#include "core/json_writer.hpp"

namespace kw::proxy {
namespace {

struct row {
    std::uint16_t status;
    std::string_view openai_type;
    std::string_view anthropic_type;
};

row row_of(errc code) noexcept {
    using enum errc;
    switch (code) {
        case malformed_request:
        case invalid_json:
        case invalid_argument:
        case accounts_differ:
            return {400, "invalid_request_error", "invalid_request_error"};
        case unsupported_expectation:
            return {417, "invalid_request_error", "invalid_request_error"};
        case misdirected_host:
            return {421, "invalid_request_error", "invalid_request_error"};
        case header_too_large:
            return {431, "invalid_request_error", "invalid_request_error"};
        case header_timeout:
        case body_timeout:
            return {408, "invalid_request_error", "invalid_request_error"};
        case body_too_large:
            return {413, "invalid_request_error", "request_too_large"};
        case missing_api_key:
        case invalid_api_key:
        case key_disabled:
        case key_expired:
            return {401, "authentication_error", "authentication_error"};
        case model_not_allowed:
        case endpoint_not_allowed:
        case client_not_allowed:
        case ip_not_allowed:
            return {403, "permission_error", "permission_error"};
        case store_not_found:
        case object_not_found:
            return {404, "invalid_request_error", "not_found_error"};
        case store_conflict:
        case upstream_key_unavailable:
            return {409, "invalid_request_error", "invalid_request_error"};
        case insufficient_quota:
            return {402, "insufficient_quota", "rate_limit_error"};
        case rate_limit_exceeded:
        case concurrency_limit_exceeded:
        case upstream_keys_rate_limited:
            return {429, "rate_limit_error", "rate_limit_error"};
        case no_upstream_key:
        case model_not_served:
        case bound_key_unavailable:
        case store_unavailable:
        case journal_unavailable:
        case overloaded:
        case shutting_down:
            return {503, "server_error", "overloaded_error"};
        case upstream_dns_error:
        case upstream_connect_error:
        case upstream_tls_error:
        case upstream_reset:
        case upstream_malformed:
        case upstream_stream_cut:
        case egress_proxy_error:
            return {502, "server_error", "api_error"};
        case upstream_connect_timeout:
        case upstream_tls_timeout:
        case upstream_first_byte_timeout:
        case upstream_first_token_timeout:
        case upstream_idle_timeout:
        case upstream_total_timeout:
            return {504, "server_error", "timeout_error"};
        case ok:
        case client_closed:
        case timed_out:
        case internal:
            break;
    }
    return {500, "server_error", "api_error"};
}

void append_openai_error(json_writer& w, const error& e, std::string_view code,
                         std::string_view param) {
    w.key("error").begin_object();
    w.field("message", e.context.empty() ? to_string(e.code) : std::string_view(e.context));
    w.field("type", row_of(e.code).openai_type);
    w.key("param");
    if (param.empty())
        w.null();
    else
        w.value(param);
    w.field("code", code);
    w.end_object();
}

void append_anthropic_error(json_writer& w, const error& e, std::string_view code,
                            std::string_view request_id) {
    w.field("type", "error");
    w.key("error").begin_object();
    w.field("type", row_of(e.code).anthropic_type);
    w.field("message", e.context.empty() ? to_string(e.code) : std::string_view(e.context));
    w.field("code", code);
    w.end_object();
    w.field("request_id", request_id);
}

}  // namespace

std::uint16_t http_status(errc code) noexcept {
    return row_of(code).status;
}

std::string make_error_response(const error& e, error_shape shape, const error_details& details,
                                bool head_only) {
    std::string body;
    json_writer w(body);
    w.begin_object();
    const std::string_view code = details.code.empty() ? to_string(e.code) : details.code;
    if (shape == error_shape::anthropic)
        append_anthropic_error(w, e, code, details.request_id);
    else
        append_openai_error(w, e, code, details.param);
    w.end_object();

    const unsigned status = details.status.value_or(row_of(e.code).status);
    std::string out = "HTTP/1.1 ";
    out += std::to_string(status);
    out += ' ';
    out += reason_phrase(status);
    out += "\r\nContent-Type: application/json\r\nContent-Length: ";
    out += std::to_string(body.size());
    if (!details.request_id.empty()) {
        out += "\r\nx-keywheel-request-id: ";
        out += details.request_id;
    }
    if (details.retry_after) {
        const auto seconds = std::chrono::ceil<std::chrono::seconds>(*details.retry_after).count();
        out += "\r\nRetry-After: ";
        out += std::to_string(seconds > 0 ? seconds : 1);
    }
    if (!details.own_lines.empty()) {
        out += "\r\n";
        out += details.own_lines.substr(0, details.own_lines.size() - 2);
    }
    if (details.already_retried) out += "\r\nx-should-retry: false";
    if (status == 401) out += "\r\nWWW-Authenticate: Bearer";
    if (details.close) out += "\r\nConnection: close";
    out += "\r\n\r\n";
    if (!head_only) out += body;
    return out;
}

std::string make_error_frame(const error& e, frame_dialect dialect, std::string_view request_id) {
    std::string json;
    json_writer w(json);
    w.begin_object();
    std::string_view event;
    switch (dialect) {
        case frame_dialect::chat:
            append_openai_error(w, e, to_string(e.code), {});
            break;
        case frame_dialect::responses:
            // The event's own fields by the API, and `error` beside them, which the SDKs raise.
            event = "error";
            w.field("type", "error").field("code", to_string(e.code));
            w.field("message", e.context.empty() ? to_string(e.code) : std::string_view(e.context));
            w.key("param").null();
            append_openai_error(w, e, to_string(e.code), {});
            break;
        case frame_dialect::anthropic:
            event = "error";
            append_anthropic_error(w, e, to_string(e.code), request_id);
            break;
    }
    w.end_object();
    std::string out;
    if (!event.empty()) {
        out += "event: ";
        out += event;
        out += '\n';
    }
    out += "data: ";
    out += json;
    out += "\n\n";
    return out;
}

std::string make_error_message(const error& e, std::string_view event_id,
                               std::uint16_t quota_status) {
    std::string json;
    json_writer w(json);
    w.begin_object().field("type", "error").field("event_id", event_id);
    w.field("status", e.code == errc::insufficient_quota ? quota_status : http_status(e.code));
    append_openai_error(w, e, to_string(e.code), {});
    w.end_object();
    return json;
}

std::string_view reason_phrase(unsigned status) noexcept {
    switch (status) {
        case 200:
            return "OK";
        case 204:
            return "No Content";
        case 400:
            return "Bad Request";
        case 401:
            return "Unauthorized";
        case 402:
            return "Payment Required";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 408:
            return "Request Timeout";
        case 409:
            return "Conflict";
        case 413:
            return "Content Too Large";
        case 414:
            return "URI Too Long";
        case 417:
            return "Expectation Failed";
        case 421:
            return "Misdirected Request";
        case 422:
            return "Unprocessable Content";
        case 429:
            return "Too Many Requests";
        case 426:
            return "Upgrade Required";
        case 431:
            return "Request Header Fields Too Large";
        case 500:
            return "Internal Server Error";
        case 501:
            return "Not Implemented";
        case 502:
            return "Bad Gateway";
        case 503:
            return "Service Unavailable";
        case 504:
            return "Gateway Timeout";
        case 505:
            return "HTTP Version Not Supported";
        default:
            return "Unknown";
    }
}

}  // namespace kw::proxy
