// Names of error codes and sources.
#include "core/error.hpp"

#include <stdexcept>

namespace kw {

std::string_view to_string(errc code) noexcept {
    switch (code) {
#define KW_NAME(x) \
    case errc::x:  \
        return #x
        KW_NAME(ok);
        KW_NAME(malformed_request);
        KW_NAME(header_too_large);
        KW_NAME(header_timeout);
        KW_NAME(body_too_large);
        KW_NAME(body_timeout);
        KW_NAME(invalid_json);
        KW_NAME(misdirected_host);
        KW_NAME(unsupported_expectation);
        KW_NAME(client_closed);
        KW_NAME(missing_api_key);
        KW_NAME(invalid_api_key);
        KW_NAME(key_disabled);
        KW_NAME(key_expired);
        KW_NAME(model_not_allowed);
        KW_NAME(endpoint_not_allowed);
        KW_NAME(client_not_allowed);
        KW_NAME(ip_not_allowed);
        KW_NAME(rate_limit_exceeded);
        KW_NAME(insufficient_quota);
        KW_NAME(concurrency_limit_exceeded);
        KW_NAME(no_upstream_key);
        KW_NAME(upstream_keys_rate_limited);
        KW_NAME(model_not_served);
        KW_NAME(bound_key_unavailable);
        KW_NAME(upstream_key_unavailable);
        KW_NAME(object_not_found);
        KW_NAME(accounts_differ);
        KW_NAME(upstream_dns_error);
        KW_NAME(upstream_connect_error);
        KW_NAME(upstream_connect_timeout);
        KW_NAME(upstream_tls_error);
        KW_NAME(upstream_tls_timeout);
        KW_NAME(upstream_first_byte_timeout);
        KW_NAME(upstream_first_token_timeout);
        KW_NAME(upstream_idle_timeout);
        KW_NAME(upstream_total_timeout);
        KW_NAME(upstream_reset);
        KW_NAME(upstream_malformed);
        KW_NAME(upstream_stream_cut);
        KW_NAME(egress_proxy_error);
        KW_NAME(store_unavailable);
        KW_NAME(store_conflict);
        KW_NAME(store_not_found);
        KW_NAME(journal_unavailable);
        KW_NAME(invalid_argument);
        KW_NAME(overloaded);
        KW_NAME(shutting_down);
        KW_NAME(timed_out);
        KW_NAME(internal);
#undef KW_NAME
    }
    return "internal";
}

std::string_view to_string(error_source source) noexcept {
    switch (source) {
        case error_source::downstream:
            return "downstream";
        case error_source::upstream:
            return "upstream";
        case error_source::store:
            return "store";
        case error_source::internal:
            return "internal";
    }
    return "internal";
}

void throw_exception_from_error(const error& e, const boost::source_location&) {
    throw std::runtime_error(std::string(to_string(e.code)) + ": " + e.context);
}

}  // namespace kw
