// Objects of long-lived work, whole and in pieces; notes; what is booked of them.
#include <catch2/catch.hpp>

#include "store/ledger_batch.hpp"
#include "usage/late_work.hpp"
#include "usage/price_table.hpp"

using namespace kw;
using namespace kw::usage;

namespace {

late_state read(late_kind kind, std::string_view json, std::size_t piece = 7) {
    late_reader reader(kind);
    for (std::size_t at = 0; at < json.size(); at += piece)
        reader.feed(json.substr(at, piece));
    return reader.state();
}

constexpr std::string_view response =
    R"({"id":"resp_1","object":"response","status":"completed","background":true,"model":"gpt-4o-2024-08-06",)"
    R"("output":[{"id":"msg_1","status":"in_progress","background":false}],"service_tier":"flex",)"
    R"("usage":{"input_tokens":30,"input_tokens_details":{"cached_tokens":10},"output_tokens":12,)"
    R"("output_tokens_details":{"reasoning_tokens":4},"total_tokens":42},"metadata":{"status":"queued"}})";

late_note note_of(late_kind kind, std::string model) {
    late_note n;
    n.kind = kind;
    n.exchange_id = "req_1";
    n.access_key_id = "ak_1";
    n.upstream_key_id = "uk_1";
    n.group_id = "g";
    n.provider = "openai";
    n.endpoint = "x";
    n.model_asked = "alias";
    n.model = std::move(model);
    n.place = "/x/1";
    n.rates = {2'000'000, 500'000};
    n.input_tokens = 100;
    n.output_tokens = 50;
    return n;
}

std::shared_ptr<const price_table> table() {
    price_table_builder b;
    const auto added = b.add_own(
        R"({"format":"keywheel-prices-1","source":"s","as_of":"2026-01-01","models":{)"
        R"("gpt-4o-2024-08-06":{"input":"2","output":"8","cached_read":"1"},)"
        R"("tuned":{"input":"2","output":"8","training":"25"},"own":{"input":"4","output":"0","batch":{"factor":"0.25"}},)"
        R"("sora-2":{"per_second":"0.10"},"sora-2@1792x1024":{"per_second":"0.50"}}})");
    REQUIRE(added.has_value());
    return b.build();
}

}  // namespace

TEST_CASE("objects of long-lived work are read", "[usage]") {
    for (const std::size_t piece : {1U, 7U, 10'000U}) {
        const late_state r = read(late_kind::response, response, piece);
        CHECK(r.id == "resp_1");
        CHECK(r.late);
        CHECK(r.ended);
        CHECK(r.told);
        CHECK(r.tokens.input == 30);
        CHECK(r.tokens.cached_read == 10);
        CHECK(r.tokens.output == 12);
        CHECK(r.model == "gpt-4o-2024-08-06");
        CHECK(r.service_tier == "flex");
    }
    const late_state queued = read(
        late_kind::response, R"({"id":"resp_1","status":"queued","background":true,"usage":null})");
    CHECK(queued.late);
    CHECK_FALSE(queued.ended);
    CHECK_FALSE(queued.told);
    CHECK_FALSE(
        read(late_kind::response, R"({"id":"r","status":"completed","background":false})").late);

    const late_state batch = read(
        late_kind::batch,
        R"({"id":"batch_1","status":"completed","model":"m","usage":{"input_tokens":7,"output_tokens":3}})");
    CHECK(batch.ended);
    CHECK(batch.tokens.total() == 10);
    CHECK_FALSE(read(late_kind::batch, R"({"id":"batch_1","status":"cancelling"})").ended);
    const late_state tuned =
        read(late_kind::fine_tuning,
             R"({"id":"ftjob-1","status":"succeeded","model":"m","trained_tokens":5000,"seed":1})");
    CHECK(tuned.told);
    CHECK(tuned.tokens.input == 5000);
    CHECK_FALSE(
        read(late_kind::fine_tuning, R"({"id":"f","status":"failed","trained_tokens":null})").told);
    const late_state video = read(
        late_kind::video,
        R"({"id":"video_1","status":"completed","model":"sora-2","seconds":"8","size":"720x1280"})");
    CHECK(video.duration_ms == 8000);
    CHECK(video.size == "720x1280");
}

TEST_CASE("a background response's stream is read", "[usage]") {
    late_reader reader(late_kind::response);
    reader.on_event(
        R"({"type":"response.created","response":{"id":"resp_1","status":"queued","background":true,"usage":null}})");
    CHECK(reader.state().id == "resp_1");
    CHECK_FALSE(reader.state().ended);
    reader.on_event(R"({"type":"response.output_text.delta","delta":"a","status":"completed"})");
    CHECK_FALSE(reader.state().ended);
    reader.on_event(R"({"type":"response.completed","response":)" + std::string(response) + "}");
    CHECK(reader.state().ended);
    CHECK(reader.state().tokens.total() == 42);
}

TEST_CASE("notes keep what was ordered", "[usage]") {
    late_note note = note_of(late_kind::batch, "m");
    CHECK(read_note(write_note(note)) == note);
    note.model_asked = "two\nlines";
    const auto back = read_note(write_note(note));
    REQUIRE(back);
    CHECK(back->model_asked == "two?lines");
    CHECK(back->place == note.place);
    CHECK_FALSE(read_note("").has_value());
    CHECK_FALSE(read_note("late-1\n9").has_value());
    CHECK_FALSE(read_note("late-1\n1\nx").has_value());
}

TEST_CASE("long-lived work is priced", "[usage]") {
    const auto prices = table();
    const auto book = [&](late_kind kind, const std::string& model, const late_state& state) {
        return late_record(note_of(kind, model), state, *prices, wall_time{});
    };
    late_state s = read(late_kind::response, response);
    auto r = book(late_kind::response, "other", s);
    CHECK(r.id == store::late_id("req_1"));
    CHECK(store::is_late(r.id));
    CHECK(r.access_key_id == "ak_1");
    CHECK(r.outcome == store::usage_outcome::exact);
    // 20 at 2, 10 at 1, 12 at 8 dollars per million; twice the group's, half the access key's.
    CHECK(r.cost == 146'000);
    CHECK(r.rated_cost == 146'000);
    // Batches: half, or what the table says.
    CHECK(book(late_kind::batch, "other", s).cost == 73'000);
    s = read(
        late_kind::batch,
        R"({"id":"b","status":"completed","model":"own","usage":{"input_tokens":1000,"output_tokens":0}})");
    CHECK(book(late_kind::batch, "", s).cost == 1'000'000);
    s = read(late_kind::fine_tuning, R"({"id":"f","status":"succeeded","trained_tokens":1000000})");
    CHECK(book(late_kind::fine_tuning, "tuned", s).cost == 25'000'000'000);
    CHECK_FALSE(book(late_kind::fine_tuning, "own", s).cost.has_value());
    s = read(late_kind::video, R"({"id":"v","status":"completed","model":"sora-2","seconds":"8"})");
    CHECK(book(late_kind::video, "sora-2", s).cost == 800'000'000);
    s.size = "1792x1024";
    CHECK(book(late_kind::video, "sora-2", s).cost == 4'000'000'000);
    s.size = "720x1280";
    price_table_builder with_default;
    REQUIRE(
        with_default
            .add_own(
                R"({"format":"keywheel-prices-1","source":"s","as_of":"2026-01-01","models":{"sora-2":{"per_second":"0.10"}}})")
            .has_value());
    model_price rest;
    rest.base.input = rest.base.output = 1;
    with_default.set_default(rest);
    CHECK(late_record(note_of(late_kind::video, "sora-2"), s, *with_default.build(), wall_time{})
              .cost == 800'000'000);
    // Failed work costs nothing.
    s = read(late_kind::response, R"({"id":"r","status":"failed","background":true,"usage":null})");
    r = book(late_kind::response, "own", s);
    CHECK(r.outcome == store::usage_outcome::none);
    CHECK_FALSE(r.cost.has_value());
    // A server that tells no usage: an estimate of what it has generated.
    s = read(
        late_kind::response,
        R"({"id":"r","status":"completed","background":true,"output":[{"content":[{"text":"12345678"}]}]})");
    r = book(late_kind::response, "own", s);
    CHECK(r.outcome == store::usage_outcome::estimated);
    CHECK(r.tokens.input == 100);
    CHECK(r.tokens.output == 2);
    const auto lost = lost_record(note_of(late_kind::response, "own"), *prices, wall_time{});
    CHECK(lost.outcome == store::usage_outcome::estimated);
    CHECK(lost.tokens.total() == 150);
    CHECK(lost.cost == 400'000);
}
