// Families in paths, ids in bodies and answers, in pieces, escaped, and where they do not count.
#include <catch2/catch.hpp>

#include <algorithm>

#include "proxy/object_ids.hpp"

using namespace kw::proxy;

namespace {

std::string refs(std::string_view body) {
    std::string out;
    for (const auto& r : find_refs(body, 100))
        out += (out.empty() ? "" : " ") + r.id + (r.firm ? "" : "?");
    return out;
}

std::string text_of(const std::vector<id_reader::found>& all) {
    std::string out;
    for (const auto& f : all)
        out += (out.empty() ? "" : " ") + f.id + (f.made ? "!" : "");
    return out;
}

std::string learned(std::string_view answer, bool creates = true, bool items = false,
                    std::size_t step = 1000) {
    id_reader r;
    r.start(creates, items);
    for (; !answer.empty(); answer.remove_prefix(std::min(step, answer.size())))
        r.feed(answer.substr(0, step));
    return text_of(r.take());
}

}  // namespace

TEST_CASE("paths of objects") {
    auto r = route_objects("POST", "/v1/files");
    CHECK((r.any && r.creates && r.places && r.learns && !r.lists));
    r = route_objects("GET", "/v1/files");
    CHECK((r.lists && !r.learns && !r.creates));
    r = route_objects("GET", "/openai/v1/fine_tuning/jobs/ftjob-1/events");
    CHECK(r.id == "ftjob-1");
    CHECK(r.object == "/openai/v1/fine_tuning/jobs/ftjob-1");
    CHECK_FALSE(r.lists);
    r = route_objects("POST", "/v1/responses");
    CHECK((r.creates && !r.places && r.learns && r.items && r.refers));
    CHECK(r.keep == object_keep::response);
    r = route_objects("POST", "/v1/responses/input_tokens");
    CHECK((r.id.empty() && !r.learns && r.refers));
    r = route_objects("POST", "/v1/threads/runs");
    CHECK((r.id.empty() && r.creates && r.places));
    CHECK(route_objects("POST", "/v1/threads/thread_1/runs").id == "thread_1");
    CHECK(route_objects("POST", "/v1/videos/video_1/remix").creates);
    CHECK(route_objects("GET", "/v1/vector_stores/vs_1/files").id == "vs_1");
    CHECK_FALSE(route_objects("GET", "/v1/vector_stores/vs_1/files").lists);
    r = route_objects("POST", "/v1/chat/completions");
    CHECK((r.refers && !r.creates && !r.learns));
    CHECK(route_objects("GET", "/v1/chat/completions").lists);
    CHECK(route_objects("GET", "/v1/chat/completions/chatcmpl-1/messages").id == "chatcmpl-1");
    CHECK(route_objects("POST", "/v1/realtime/calls").places);
    CHECK(route_objects("POST", "/v1/realtime/calls/rtc_1/accept").id == "rtc_1");
    CHECK(route_objects("POST", "/v1/realtime/client_secrets").learns);
    CHECK_FALSE(route_objects("GET", "/v1/realtime").any);
    CHECK_FALSE(route_objects("POST", "/v1/embeddings").any);
    CHECK_FALSE(route_objects("GET", "/v1/filesystem").any);
    CHECK_FALSE(route_objects("GET", "/").any);
    CHECK(route_objects("DELETE", "/v1/files/file-1").id == "file-1");
}

TEST_CASE("ids in request bodies") {
    CHECK(refs(R"({"input_file_id":"file-a","endpoint":"/v1/chat/completions"})") == "file-a");
    CHECK(refs(R"({"vector_store_ids" : [ "vs_1","vs_2","vs_1" ]})") == "vs_1 vs_2");
    CHECK(refs(R"({"conversation":{"id":"conv_1"},"previous_response_id":"odd.form:1"})") ==
          "conv_1 odd.form:1");
    CHECK(refs(R"({"conversation":"conv_1","container":"cntr_9"})") == "conv_1 cntr_9");
    CHECK(refs(R"({"training_file":"file-a","validation_file":null})") == "file-a");
    CHECK(
        refs(
            R"({"input":[{"type":"item_reference","id":"rs_1"},{"content":[{"file_id":"file-b"}]}]})") ==
        "rs_1? file-b");
    CHECK(refs(R"({"tool_resources":{"file_search":{"vector_store_ids":["vs_1"]}}})") == "vs_1");
    CHECK(refs(R"({"source":{"type":"file_id","id":"file-c"}})") == "file-c");
    // Spelled so that a plain search would miss it.
    CHECK(refs("{\"file\\u005fid\":\"file\\u002dx\"}") == "file-x");
    CHECK(refs("{\"file_id\"\n:\t\"file-x\"}") == "file-x");
    CHECK(refs(R"({"file_id":"file-mine","file_id":"file-theirs"})") == "file-mine file-theirs");
    // No references.
    CHECK(
        refs(R"({"metadata":{"file_id":"file-a","x":[{"id":"file-b"}]},"user":"file-c"})").empty());
    CHECK(refs(R"({"messages":[{"tool_call_id":"call_1","content":"\"file_id\":\"file-a\""}]})")
              .empty());
    CHECK(refs(R"({"prompt":{"id":"pmpt_1"},"file_id":"no id, a text"})").empty());
    CHECK(refs("[1,2").empty());
    CHECK(refs(R"({"type":"response.create","response":{"conversation":"none"}})").empty());
    CHECK(refs(R"({"conversation":"auto","response_id":"resp_1"})") == "resp_1");
    const auto one = find_refs(R"({"file_id":"file-a"})", 10);
    REQUIRE(one.size() == 1);
    CHECK(one[0].place == "/files/file-a");
    CHECK(find_refs(R"({"file_ids":["file-1","file-2","file-3"]})", 2).size() == 2);
}

TEST_CASE("calls that a URL names are bounded") {
    std::vector<std::string> calls(1, "no id, a text");
    for (int i = 0; i < 1'000; ++i)
        calls.push_back("rtc_" + std::to_string(i));
    auto all = find_refs(R"({"file_id":"file-a"})", 10);
    add_calls(calls, 10, all);
    REQUIRE(all.size() == 10);
    CHECK(all[1].id == "rtc_0");
    CHECK(all[9].id == "rtc_8");
}

TEST_CASE("bodies that cannot refer are told by a search") {
    const std::string filling(1000, 'x');
    for (const std::size_t at : {std::size_t{0}, std::size_t{7}, std::size_t{990}}) {
        std::string body = filling;
        CHECK_FALSE(may_refer(body));
        body.insert(at, R"("file_id":"file-1")");
        CHECK(may_refer(body));
        body = filling;
        body.insert(at, "\\u0066ile");
        CHECK(may_refer(body));
        body = filling;
        CHECK_FALSE(may_refer_to_state(body));
        body.insert(at, R"("conversation":)");
        CHECK(may_refer_to_state(body));
    }
    CHECK_FALSE(may_refer(""));
    CHECK_FALSE(may_refer("file_i"));
}

TEST_CASE("ids in answers, whole and in pieces") {
    const std::string_view upload =
        R"({"metadata":{"id":"file-not"},"object":"upload","id":"up-odd","file":{"id":"file-1"}})";
    for (const std::size_t step :
         {std::size_t{1}, std::size_t{2}, std::size_t{5}, std::size_t{1000}})
        CHECK(learned(upload, true, false, step) == "up-odd! file-1");
    CHECK(learned(upload, false) == "file-1");
    CHECK(learned(R"({"id":"batch_1","output_file_id":"file-2","errors":null})", false) ==
          "batch_1 file-2");
    CHECK(learned(R"({"id":"resp_1","output":[{"id":"msg_1","content":[{"text":"id"}]}]})", true,
                  true) == "resp_1! msg_1");
    CHECK(learned(R"({"id":"thread_1","x":[{"id":"msg_1"}]})") == "thread_1!");
    CHECK(learned(R"({"result_files":["file-1","file-2"],"fine_tuned_model":"ft:gpt:a"})", false) ==
          "file-1 file-2 ft:gpt:a");
}

TEST_CASE("an id told by an answer's head") {
    id_reader r;
    r.start(true, false);
    r.note("rtc_1");
    r.note("no id");
    r.feed("v=0\r\ns=\"-\"\r\n");
    const auto found = r.take();
    REQUIRE(found.size() == 1);
    CHECK(found[0].id == "rtc_1");
    CHECK(found[0].made);
}

TEST_CASE("ids in events") {
    id_reader r;
    r.start(true, true);
    r.on_event(R"({"type":"response.created","response":{"id":"r.1","output":[]}})");
    r.on_event(R"({"type":"response.output_text.delta","item_id":"msg_9","delta":"x"})");
    r.on_event(R"({"type":"response.output_item.added","item":{"id":"rs_1"}})");
    r.on_event("[DONE]");
    r.on_event("{broken");
    r.on_event(R"({"type":"response.completed","response":{"id":"r.1"}})");
    CHECK(text_of(r.take()) == "r.1! rs_1 r.1!");
    // Undivided, as a compressed stream comes.
    r.start(true, false, true);
    r.feed(
        "event: response.created\ndata: "
        "{\"type\":\"response.created\",\"response\":{\"id\":\"r.2\"}}\n\n"
        "event: x\ndata: {\"response\":{\"id\":\"r.3\"}}\n\n");
    CHECK(text_of(r.take()) == "r.2! r.3!");
    r.start(true, false, false, "no-such-coding");
    r.feed(R"({"id":"file-1"})");
    CHECK(r.take().empty());
    r.start(true, false);
    r.on_event(R"({"id":"thread_1","object":"thread"})");
    CHECK(text_of(r.take()) == "thread_1");
}

TEST_CASE("routes whose answers tell what long-lived work costs", "[proxy][objects]") {
    using kw::usage::late_kind;
    const auto late = [](std::string_view method, std::string_view path) {
        return route_objects(method, path).late;
    };
    CHECK(late("POST", "/v1/responses") == late_kind::response);
    CHECK(late("GET", "/v1/responses/resp_1") == late_kind::response);
    CHECK(late("POST", "/v1/responses/resp_1/cancel") == late_kind::response);
    CHECK(late("GET", "/v1/batches") == late_kind::batch);
    CHECK(late("POST", "/v1/batches/batch_1/cancel") == late_kind::batch);
    CHECK(late("GET", "/v1/fine_tuning/jobs/ftjob-1") == late_kind::fine_tuning);
    CHECK(late("POST", "/v1/videos/edits") == late_kind::video);
    CHECK(late("POST", "/v1/videos/video_1/remix") == late_kind::video);
    for (const auto path : {"/v1/responses/resp_1/input_items",
                            "/v1/fine_tuning/jobs/ftjob-1/events", "/v1/videos/video_1/content",
                            "/v1/videos/characters/x", "/v1/files", "/v1/chat/completions/x"})
        CHECK(late("GET", path) == late_kind::none);
    for (const auto path : {"/v1/responses/input_tokens", "/v1/responses/compact"})
        CHECK(late("POST", path) == late_kind::none);
    CHECK(late("DELETE", "/v1/responses/resp_1") == late_kind::none);
}
