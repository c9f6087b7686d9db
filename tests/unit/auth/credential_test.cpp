// Where credentials are found and what is taken out of a query.
#include "auth/credential.hpp"

#include <catch2/catch.hpp>

using namespace kw::auth;

TEST_CASE("a credential is found in every usual place, in this order") {
    CHECK(pick_credential({}).empty());
    CHECK(pick_credential({.authorization = "Bearer abc"}) == "abc");
    CHECK(pick_credential({.authorization = "bEARER   abc"}) == "abc");
    CHECK(pick_credential({.authorization = "Basic abc"}).empty());
    CHECK(pick_credential({.authorization = "Bearer"}).empty());
    CHECK(pick_credential({.authorization = "Bearer "}).empty());
    CHECK(pick_credential({.authorization = "Bearerabc"}).empty());
    CHECK(pick_credential({.authorization = "Basic x", .x_api_key = "k"}) == "k");
    CHECK(pick_credential({.authorization = "Bearer a", .x_api_key = "k"}) == "a");
    CHECK(pick_credential({.x_api_key = "1", .api_key = "2", .x_goog_api_key = "3"}) == "1");
    CHECK(pick_credential({.api_key = "2", .x_goog_api_key = "3"}) == "2");
    CHECK(pick_credential({.x_goog_api_key = "3"}) == "3");
    CHECK(pick_credential({.subprotocols = "realtime,\topenai-insecure-api-key.4 , x"}) == "4");
    CHECK(pick_credential({.subprotocols = "realtime, my-openai-insecure-api-key.4"}).empty());
    CHECK(pick_credential({.x_api_key = "1", .subprotocols = "openai-insecure-api-key.4"}) == "1");
}

TEST_CASE("the query's key counts on Gemini's paths only") {
    const auto pick = [](std::string_view path, std::string_view query) {
        return pick_credential({.path = path, .query = query});
    };
    CHECK(pick("/v1beta/models/g:generateContent", "alt=sse&key=abc&x=1") == "abc");
    CHECK(pick("/v1/models/g:streamGenerateContent", "key=abc") == "abc");
    CHECK(pick("/v1/models/g", "key=abc").empty());
    CHECK(pick("/v1/chat/completions", "key=abc").empty());
    CHECK(pick("/v1beta/models", "monkey=abc&key2=d").empty());
    CHECK(pick("/v1beta/models", "key=").empty());
    CHECK(pick("/v1beta/models", "key").empty());
}

TEST_CASE("the key is cut out of a query and nothing else") {
    const auto cut = [](std::string_view query) {
        std::string out = "?";
        append_query_without_key(out, query);
        return out;
    };
    CHECK(cut("") == "?");
    CHECK(cut("key=abc") == "?");
    CHECK(cut("a=1&key=abc&b=2") == "?a=1&b=2");
    CHECK(cut("key=abc&a=1&key=d") == "?a=1");
    CHECK(cut("monkey=1&keys=2") == "?monkey=1&keys=2");
}

TEST_CASE("a parameter is found however it is spelled", "[auth][credential]") {
    using texts = std::vector<std::string>;
    CHECK(query_values("a=1&model=ft%3Agpt%2D4o&b", "model") == texts{"ft:gpt-4o"});
    CHECK(query_values("model=a&mod%65l=b", "model") == texts{"a", "b"});
    CHECK(query_values("model&models=x", "model") == texts{""});
    CHECK(query_values("model=%zz+%4", "model") == texts{"%zz %4"});
    CHECK(query_values("", "model").empty());
}
