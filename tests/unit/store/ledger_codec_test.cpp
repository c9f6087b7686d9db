// Ledger records as bytes: what goes in comes out, and a glance at the names agrees with it.
#include "store/ledger_codec.hpp"

#include <catch2/catch.hpp>
#include <limits>
#include <string>

namespace kw::store {
namespace {

ledger_record full_record() {
    ledger_record r;
    r.id = "req_1qg20h8nb7nsj2mff3mac";
    r.started = wall_time(std::chrono::nanoseconds(1'764'000'000'123'456'789));
    r.access_key_id = "ak_1";
    r.upstream_key_id = "uk_1";
    r.group_id = "default";
    r.provider = "openai";
    r.endpoint = "chat";
    r.model_asked = "gpt";
    r.model_served = "gpt-2026";
    r.service_tier = "flex";
    r.tokens.input = 1;
    r.tokens.cached_read = 1'000'000'000'000;
    r.cost = -5;
    r.status = 65'535;
    r.attempts = 3;
    r.stream = true;
    r.error_code = "upstream_cut";
    r.total_us = std::numeric_limits<std::int64_t>::max();
    r.bytes_out = std::numeric_limits<std::int64_t>::min();
    return r;
}

}  // namespace

TEST_CASE("a record survives its encoding") {
    const auto r = full_record();
    std::string bytes;
    encode(r, bytes);
    const auto back = decode(bytes);
    REQUIRE(back);
    CHECK(back->id == r.id);
    CHECK(back->started == r.started);
    CHECK(back->model_served == r.model_served);
    CHECK(back->tokens.cached_read == r.tokens.cached_read);
    CHECK(back->cost == r.cost);
    CHECK_FALSE(back->rated_cost);
    CHECK(back->status == r.status);
    CHECK(back->stream);
    CHECK(back->total_us == r.total_us);
    CHECK(back->bytes_out == r.bytes_out);
    std::string again;
    encode(*back, again);
    CHECK(again == bytes);

    const auto view = decode_view(bytes);
    REQUIRE(view);
    CHECK(view->id == r.id);
    CHECK(view->error_code == r.error_code);
    CHECK(view->tokens == r.tokens);
    CHECK(view->bytes_out == r.bytes_out);
    CHECK(view->id.data() > bytes.data());
    CHECK(view->id.data() < bytes.data() + bytes.size());
}

TEST_CASE("the longest record keeps within its bound and whole characters") {
    auto r = full_record();
    std::string long_text;
    while (long_text.size() < 3'000)
        long_text += "語";
    for (auto* text :
         {&r.id, &r.access_key_id, &r.upstream_key_id, &r.group_id, &r.provider, &r.endpoint,
          &r.model_asked, &r.model_served, &r.service_tier, &r.error_code})
        *text = long_text;
    std::string bytes;
    encode(r, bytes);
    CHECK(bytes.size() <= max_encoded_record);
    const auto back = decode(bytes);
    REQUIRE(back);
    CHECK(back->model_asked.size() % std::string_view("語").size() == 0);
    CHECK(long_text.starts_with(back->model_asked));
}

TEST_CASE("names are seen without the rest, and nothing is read out of what was cut") {
    const auto r = full_record();
    std::string bytes;
    encode(r, bytes);
    const auto names = peek(bytes);
    REQUIRE(names);
    CHECK(names->id == r.id);
    CHECK(names->access_key_id == r.access_key_id);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        CHECK_FALSE(decode(std::string_view(bytes).substr(0, size)));
        CHECK_FALSE(decode_view(std::string_view(bytes).substr(0, size)));
        const auto part = peek(std::string_view(bytes).substr(0, size));
        if (part) CHECK(part->access_key_id == r.access_key_id);
    }
    bytes[0] = 9;
    CHECK_FALSE(peek(bytes));
}

}  // namespace kw::store
