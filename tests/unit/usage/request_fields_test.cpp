// Fields of request bodies, and edits that leave all other bytes alone.
#include "usage/request_fields.hpp"

#include <catch2/catch.hpp>

using namespace kw::usage;
using kw::errc;

namespace {

std::string usage_added(std::string_view body) {
    const auto f = read_request_fields(body);
    REQUIRE(f.has_value());
    splice_list list;
    if (auto s = plan_include_usage(*f)) list.add(std::move(*s));
    return list.apply(body);
}

bool refused(std::string_view body) {
    const auto f = read_request_fields(body);
    return !f && f.error().code == errc::invalid_json;
}

}  // namespace

TEST_CASE("fields are found in any order") {
    const std::string body =
        R"( {"messages":[{"content":"\"model\":\"x\"","model":"inner"}],"max_tokens":5,)"
        R"("max_completion_tokens": 70,"n":2,"stream" : true,"user":"u\u00e9","model" :"g\/pt"} )";
    const auto f = read_request_fields(body);
    REQUIRE(f.has_value());
    CHECK(f->model == "g/pt");
    CHECK(body.substr(f->model_value.begin, f->model_value.size()) == R"("g\/pt")");
    CHECK(f->stream);
    CHECK_FALSE(f->store);
    CHECK(read_request_fields(R"({"store":true})")->store);
    CHECK_FALSE(read_request_fields(R"({"store":"true"})")->store);
    CHECK(f->max_tokens == 70);
    CHECK(f->n == 2);
    CHECK(f->user == "u\xc3\xa9");
    CHECK(body[f->object_end] == '}');
}

TEST_CASE("include_usage is added by the smallest edit") {
    CHECK(usage_added(R"({"stream":true})") ==
          R"({"stream":true,"stream_options":{"include_usage":true}})");
    CHECK(usage_added("{}") == R"({"stream_options":{"include_usage":true}})");
    CHECK(usage_added(R"({"stream_options":null,"seed":12345678901234567890})") ==
          R"({"stream_options":{"include_usage":true},"seed":12345678901234567890})");
    CHECK(usage_added(R"({"stream_options": {} })") ==
          R"({"stream_options": {"include_usage":true} })");
    CHECK(usage_added(R"({"stream_options":{"include_obfuscation":false}})") ==
          R"({"stream_options":{"include_usage":true,"include_obfuscation":false}})");
    CHECK(usage_added(R"({"stream_options":{"include_usage": false}})") ==
          R"({"stream_options":{"include_usage": true}})");
    CHECK(usage_added(R"({"stream_options":{"include_usage":true}})") ==
          R"({"stream_options":{"include_usage":true}})");
}

TEST_CASE("two edits of one body") {
    const std::string body = R"({"model":"a","x":1.0e5,"stream":true})";
    const auto f = read_request_fields(body);
    REQUIRE(f.has_value());
    splice_list list;
    list.add(*plan_include_usage(*f));
    list.add(*plan_model(*f, "b\"c"));
    const std::string out = list.apply(body);
    CHECK(out ==
          R"({"model":"b\"c","x":1.0e5,"stream":true,"stream_options":{"include_usage":true}})");
    CHECK(list.size_after(body.size()) == out.size());
    CHECK_FALSE(plan_model(*f, "a"));
}

TEST_CASE("duplicates and broken JSON are refused") {
    for (const char* body : {R"({"model":"a","model":"b"})",
                             R"({"model":"a","mod\u0065l":"b"})",
                             R"({"stream":true,"stream":false})",
                             R"({"model":5})",
                             R"({"model":"a")",
                             R"([])",
                             "",
                             "x",
                             R"({"a":1,})",
                             R"({"a":01})",
                             R"({"a":1.})",
                             R"({"a":"\x"})",
                             "{\"a\":\"\n\"}",
                             R"({"a":tru})",
                             R"({"a":[1 2]})",
                             R"({"a":[1}])",
                             R"({"a":1}})",
                             R"({"a" 1})",
                             R"({"stream_options":{"include_usage":true,"include_usage":false}})",
                             "{\"a\":\"\xff\"}",
                             R"({"a":"\u12g4"})",
                             R"({"a":--1})",
                             R"({a:1})",
                             R"({"a":)"}) {
        INFO(body);
        CHECK(refused(body));
    }
    CHECK(refused("{\"a\":" + std::string(600, '[') + std::string(600, ']') + "}"));
    CHECK_FALSE(refused("{\"a\":" + std::string(500, '[') + std::string(500, ']') + "}"));
    CHECK_FALSE(refused(R"({"model":null,"a":[{},[],{"b":[-0.5E+3,null,true,false]}]})"));
}

TEST_CASE("every prefix of a body is refused") {
    const std::string body =
        R"({"model":"m\u00e9","a":[1,{"b":null}],"stream_options":{"x":-1.5e3}})";
    REQUIRE_FALSE(refused(body));
    for (std::size_t n = 0; n < body.size(); ++n)
        CHECK(refused(std::string(body.data(), n)));
}

TEST_CASE("the model of a multipart body") {
    const std::string body =
        "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"name=\\\"model\\\"\"\r\n"
        "Content-Type: audio/wav\r\n\r\n\r\n--Bx no mark\r\n\r\n--B\r\n"
        "content-disposition: form-data; name=model\r\n\r\nwhisper-1\r\n--B\r\n"
        "Content-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n--B--\r\n";
    // The line "--Bx" begins like the mark but is none to a strict reader; keep it out here.
    std::string clean = body;
    clean.replace(clean.find("--Bx no mark"), 12, "--Ax no mark");
    const auto f = read_multipart_fields(clean, "multipart/form-data; boundary=B");
    REQUIRE(f.has_value());
    CHECK(f->model == "whisper-1");
    CHECK(f->stream);
    splice_list list;
    list.add(*plan_model(*f, "other"));
    const auto again =
        read_multipart_fields(list.apply(clean), "multipart/form-data; boundary=\"B\"");
    REQUIRE(again.has_value());
    CHECK(again->model == "other");

    CHECK(read_multipart_fields(body, "multipart/form-data; boundary=B").has_error());
    CHECK(read_multipart_fields(clean, "multipart/form-data").has_error());
    for (std::size_t n = 0; n + 4 < clean.size(); ++n)
        CHECK(read_multipart_fields(clean.substr(0, n), "multipart/form-data; boundary=B")
                  .has_error());
}

TEST_CASE("a body must be Unicode text wherever it looks like text") {
    for (const std::string_view bad :
         {"\xff", "\xc0\xae", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc3", "\xe2\x82", "\x80"}) {
        for (const std::string_view before :
             {R"({"model":")", R"({"model":"m","messages":[{"content":")", R"({"model":"m","x)"}) {
            const auto f = read_request_fields(std::string(before) + std::string(bad) + "\":1}");
            REQUIRE_FALSE(f.has_value());
            CHECK(f.error().context == "the body is not valid UTF-8");
        }
    }
}

TEST_CASE("half a surrogate pair is no model, and no concern of ours elsewhere") {
    for (const char* body : {R"({"model":"\ud800"})", R"({"model":"a\udc00b"})",
                             R"({"model":"\udc00\ud800"})", R"({"model":"\ud83d\u0041"})"}) {
        const auto f = read_request_fields(body);
        REQUIRE_FALSE(f.has_value());
        CHECK(f.error().code == errc::invalid_json);
        CHECK(f.error().context.find("surrogate") != std::string::npos);
    }
    const auto pair = read_request_fields(R"({"model":"\ud83d\ude00"})");
    REQUIRE(pair.has_value());
    CHECK(pair->model == "\xf0\x9f\x98\x80");
    const auto other = read_request_fields(R"({"model":"m","user":"\ud800","x":"\udc00"})");
    REQUIRE(other.has_value());
    CHECK(other->user == "\xef\xbf\xbd");
}
