// Errors as clients see them: status, headers, bodies in both shapes, frames in three dialects.
#include "proxy/error_response.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>

#include "net/http_head.hpp"

using namespace kw;
using namespace kw::proxy;
using namespace std::chrono_literals;

namespace {

// An answer, read back by the parser that clients' answers are read with.
struct read_back {
    explicit read_back(std::string t, bool head_request = false) : text(std::move(t)) {
        REQUIRE(head.parse_response(text, head_request) == net::parse_status::done);
        body = std::string_view(text).substr(head.consumed());
    }
    [[nodiscard]] boost::json::object json() const {
        return boost::json::parse(boost::json::string_view(body.data(), body.size())).as_object();
    }
    std::string text;
    net::http_head head;
    std::string_view body;
};

std::string text_of(const boost::json::value& v) {
    return std::string(v.as_string());
}

boost::json::object data_of(std::string_view frame) {
    const auto at = frame.find("data: ");
    REQUIRE(at != frame.npos);
    REQUIRE(frame.ends_with("\n\n"));
    const std::string_view json = frame.substr(at + 6, frame.size() - at - 8);
    REQUIRE(json.find('\n') == json.npos);
    return boost::json::parse(boost::json::string_view(json.data(), json.size())).as_object();
}

}  // namespace

TEST_CASE("every code has the status that clients act on", "[proxy][error_response]") {
    using enum errc;
    CHECK(http_status(malformed_request) == 400);
    CHECK(http_status(invalid_api_key) == 401);
    CHECK(http_status(key_expired) == 401);
    CHECK(http_status(model_not_allowed) == 403);
    CHECK(http_status(header_timeout) == 408);
    CHECK(http_status(body_too_large) == 413);
    CHECK(http_status(unsupported_expectation) == 417);
    CHECK(http_status(misdirected_host) == 421);
    CHECK(http_status(header_too_large) == 431);
    CHECK(http_status(upstream_keys_rate_limited) == 429);
    CHECK(http_status(no_upstream_key) == 503);
    CHECK(http_status(journal_unavailable) == 503);
    CHECK(http_status(upstream_reset) == 502);
    CHECK(http_status(upstream_first_byte_timeout) == 504);
    // A code that nobody thought of is our fault, never a success.
    for (int code = 1; code <= static_cast<int>(internal); ++code)
        CHECK(http_status(static_cast<errc>(code)) >= 400);
}

TEST_CASE("an error in OpenAI's shape", "[proxy][error_response]") {
    const read_back got(make_error_response(error(errc::invalid_api_key, "No such \"key\"."),
                                            error_shape::openai,
                                            {.request_id = "req_1", .close = true}));
    CHECK(got.head.status() == 401);
    CHECK(got.head.reason() == "Unauthorized");
    CHECK(got.head.body_length() == got.body.size());
    CHECK_FALSE(got.head.keep_alive());
    CHECK(got.head.find("www-authenticate") == "Bearer");
    CHECK(got.head.find("x-keywheel-request-id") == "req_1");
    const auto e = got.json().at("error").as_object();
    CHECK(text_of(e.at("message")) == "No such \"key\".");
    CHECK(text_of(e.at("type")) == "authentication_error");
    CHECK(text_of(e.at("code")) == "invalid_api_key");
    CHECK(e.at("param").is_null());
}

TEST_CASE("an error in Anthropic's shape", "[proxy][error_response]") {
    const read_back got(make_error_response(error(errc::body_too_large), error_shape::anthropic,
                                            {.request_id = "req_2"}));
    CHECK(got.head.status() == 413);
    CHECK(got.head.keep_alive());
    const auto all = got.json();
    CHECK(text_of(all.at("type")) == "error");
    CHECK(text_of(all.at("request_id")) == "req_2");
    const auto e = all.at("error").as_object();
    CHECK(text_of(e.at("type")) == "request_too_large");
    CHECK_FALSE(text_of(e.at("message")).empty());  // the code's name where no text is given
}

TEST_CASE("details of an error show in head and body", "[proxy][error_response]") {
    const error limited(errc::upstream_keys_rate_limited, "Later.");
    const auto wait_of = [&](std::chrono::milliseconds d) {
        const read_back got(make_error_response(limited, error_shape::openai, {.retry_after = d}));
        return std::string(got.head.find(net::header_id::retry_after));
    };
    CHECK(wait_of(1ms) == "1");
    CHECK(wait_of(0ms) == "1");
    CHECK(wait_of(2001ms) == "3");  // never earlier than it makes sense

    const read_back plain(make_error_response(limited, error_shape::openai, {}));
    CHECK_FALSE(plain.head.has(net::header_id::retry_after));
    CHECK_FALSE(plain.head.has(net::header_id::x_should_retry));
    CHECK(plain.head.find("x-keywheel-request-id").empty());

    const read_back retried(make_error_response(
        limited, error_shape::openai, {.param = "model", .already_retried = true, .status = 499}));
    CHECK(retried.head.status() == 499);
    CHECK(retried.head.find(net::header_id::x_should_retry) == "false");
    CHECK(text_of(retried.json().at("error").as_object().at("param")) == "model");
}

TEST_CASE("the answer to a HEAD states a length and has no body", "[proxy][error_response]") {
    const error e(errc::store_not_found, "Nothing here.");
    const std::string whole = make_error_response(e, error_shape::openai, {});
    const read_back got(make_error_response(e, error_shape::openai, {}, true), true);
    CHECK(got.body.empty());
    CHECK(whole.starts_with(got.text));
    CHECK(got.head.content_length() == whole.size() - got.text.size());
}

TEST_CASE("frames say in each dialect that a stream broke off", "[proxy][error_response]") {
    const error e(errc::upstream_stream_cut, "It broke\noff.");
    const std::string chat = make_error_frame(e, frame_dialect::chat, "req_3");
    CHECK(chat.starts_with("data: "));
    CHECK(text_of(data_of(chat).at("error").as_object().at("message")) == "It broke\noff.");

    const std::string responses = make_error_frame(e, frame_dialect::responses, "req_3");
    CHECK(responses.starts_with("event: error\n"));
    const auto r = data_of(responses);
    CHECK(text_of(r.at("type")) == "error");
    CHECK(text_of(r.at("code")) == "upstream_stream_cut");
    CHECK(r.at("error").is_object());

    const std::string anthropic = make_error_frame(e, frame_dialect::anthropic, "req_3");
    CHECK(anthropic.starts_with("event: error\n"));
    const auto a = data_of(anthropic);
    CHECK(text_of(a.at("type")) == "error");
    CHECK(text_of(a.at("request_id")) == "req_3");
    CHECK(text_of(a.at("error").as_object().at("type")) == "api_error");
}

TEST_CASE("reason phrases", "[proxy][error_response]") {
    CHECK(reason_phrase(200) == "OK");
    CHECK(reason_phrase(422) == "Unprocessable Content");
    CHECK(reason_phrase(504) == "Gateway Timeout");
    CHECK(reason_phrase(299) == "Unknown");
}
