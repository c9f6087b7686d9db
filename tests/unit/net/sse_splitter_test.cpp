// The SSE splitter: the same events wherever the stream is cut, and no copies where none is needed.
#include "net/sse_splitter.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

using namespace kw::net;

namespace {

struct seen {
    sse_kind kind;
    std::string raw, name, data;
    friend bool operator==(const seen&, const seen&) = default;
};

struct transcript {
    std::vector<seen> events;
    std::string passed;
    bool clean = false;
    std::string tail;
    friend bool operator==(const transcript&, const transcript&) = default;
};

seen note(const sse_event& e) {
    std::string data;
    append_data(data, e);
    return {e.kind, std::string(e.raw), std::string(e.name), data};
}

transcript split(const std::string& text, std::size_t step) {
    transcript t;
    sse_splitter splitter;
    const auto event = [&](const sse_event& e) {
        t.events.push_back(note(e));
        return true;
    };
    const auto run = [&](std::string_view raw) { t.passed.append(raw); };
    for (std::size_t at = 0; at < text.size(); at += step) {
        const std::string piece = text.substr(at, step);  // gone after the call
        const auto took = splitter.feed(piece, event, run);
        CHECK(took.consumed == piece.size());
        CHECK(took.status == sse_status::ok);
    }
    t.clean = splitter.finish(event, run);
    t.tail = splitter.tail();
    return t;
}

transcript everywhere(const std::string& text) {
    const transcript whole = split(text, text.size());
    for (std::size_t step = 1; step < text.size(); ++step) {
        INFO(step);
        CHECK(split(text, step) == whole);
    }
    // Two pieces, cut at every place.
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
        std::vector<seen> events;
        std::string passed;
        sse_splitter splitter;
        const auto event = [&](const sse_event& e) {
            events.push_back(note(e));
            return true;
        };
        const auto run = [&](std::string_view raw) { passed.append(raw); };
        (void)splitter.feed(std::string_view(text).substr(0, cut), event, run);
        (void)splitter.feed(std::string_view(text).substr(cut), event, run);
        (void)splitter.finish(event, run);
        CHECK(events == whole.events);
        CHECK(passed == whole.passed);
    }
    CHECK(whole.passed + whole.tail == text);
    return whole;
}

}  // namespace

TEST_CASE("events with each kind of line end") {
    for (const std::string eol : {"\n", "\r\n", "\r"}) {
        INFO(eol.size());
        const auto t = everywhere("event: delta" + eol + "data: {\"a\":1}" + eol + eol +
                                  "data:two" + eol + eol + "data: [DONE]" + eol + eol);
        REQUIRE(t.events.size() == 3);
        CHECK(t.events[0].name == "delta");
        CHECK(t.events[0].data == "{\"a\":1}");
        CHECK(t.events[1].data == "two");
        CHECK(t.events[1].name.empty());
        CHECK(t.events[2].data == "[DONE]");
        CHECK(t.clean);
    }
}

TEST_CASE("mixed line ends") {
    const auto t = everywhere("data: a\r\n\ndata: b\n\r\ndata: c\r\rdata: d\r\n\rdata: e\n\n");
    REQUIRE(t.events.size() == 5);
    CHECK(t.events[1].raw == "data: b\n\r\n");
    CHECK(t.events[4].data == "e");
}

TEST_CASE("data over several lines, other fields, fields without colon") {
    const auto t = everywhere(
        "id: 7\ndata: one\nretry: 10\ndata:two\ndata\nevent: first\nevent:last\ndatax: no\n\n");
    REQUIRE(t.events.size() == 1);
    CHECK(t.events[0].data == "one\ntwo\n");
    CHECK(t.events[0].name == "last");
    CHECK(everywhere("id: 1\n\n").events[0].data.empty());
}

TEST_CASE("comments and blank lines stand for themselves") {
    const auto t = everywhere(": ping\n\n:\ndata: a\n: inside\n\n\r\n");
    REQUIRE(t.events.size() == 5);
    CHECK(t.events[0].kind == sse_kind::comment);
    CHECK(t.events[0].raw == ": ping\n");
    CHECK(t.events[1].kind == sse_kind::blank);
    CHECK(t.events[2].kind == sse_kind::comment);
    CHECK(t.events[3].kind == sse_kind::event);
    CHECK(t.events[3].raw == "data: a\n: inside\n\n");
    CHECK(t.events[4].kind == sse_kind::blank);
}

TEST_CASE("a byte order mark belongs to no field") {
    const auto t = everywhere(
        "\xEF\xBB\xBF"
        "data: a\n\ndata: b\n\n");
    REQUIRE(t.events.size() == 2);
    CHECK(t.events[0].data == "a");
    CHECK(everywhere("\xEF\xBB\xBF"
                     "data: a\ndata: b\n\n")
              .events[0]
              .data == "a\nb");
    CHECK(everywhere("\xEF\xBB\xBF: hello\n").events[0].kind == sse_kind::comment);
}

TEST_CASE("an unfinished event is told apart from a clean end") {
    CHECK(everywhere("data: a\n\n").clean);
    const auto t = everywhere("data: a\n\ndata: b\n");
    CHECK_FALSE(t.clean);
    CHECK(t.tail == "data: b\n");
    CHECK(everywhere("data: a\r\r").clean);
    CHECK_FALSE(everywhere("data: a\r").clean);
}

TEST_CASE("a piece of whole events is passed on as it is") {
    const std::string piece = "data: a\n\ndata: b\n\n: c\n";
    sse_splitter splitter;
    std::vector<std::string_view> runs;
    (void)splitter.feed(
        piece,
        [&](const sse_event& e) {
            CHECK(e.raw.data() >= piece.data());
            CHECK(e.raw.data() < piece.data() + piece.size());
            return true;
        },
        [&](std::string_view raw) { runs.push_back(raw); });
    REQUIRE(runs.size() == 1);
    CHECK(runs[0].data() == piece.data());
    CHECK(runs[0].size() == piece.size());
    CHECK(splitter.tail().empty());
}

TEST_CASE("dropped events leave the others whole and in order") {
    const std::string text = "data: 1\n\ndata: x\n\ndata: 2\n\ndata: 3\n\ndata: x\n\n";
    for (std::size_t step = 1; step <= text.size(); ++step) {
        sse_splitter splitter;
        std::string passed;
        for (std::size_t at = 0; at < text.size(); at += step) {
            (void)splitter.feed(
                text.substr(at, step), [](const sse_event& e) { return e.data != "x"; },
                [&](std::string_view raw) {
                    CHECK_FALSE(raw.empty());
                    passed.append(raw);
                });
        }
        CHECK(passed == "data: 1\n\ndata: 2\n\ndata: 3\n\n");
    }
}

TEST_CASE("the tail is bounded and the bound can be raised") {
    const std::string big = "data: " + std::string(300, 'x') + "\r\n\r\n";
    const std::string text =
        "\xEF\xBB\xBF"
        "data: a\n\n" +
        big + big + "data: b\n\n";
    for (std::size_t step = 1; step <= text.size(); ++step) {
        sse_splitter splitter(100);
        std::vector<seen> events;
        std::string passed;
        const auto event = [&](const sse_event& e) {
            events.push_back(note(e));
            return true;
        };
        const auto run = [&](std::string_view raw) { passed.append(raw); };
        for (std::size_t at = 0; at < text.size(); at += step) {
            std::string piece = text.substr(at, step);
            auto took = splitter.feed(piece, event, run);
            while (took.status == sse_status::full) {
                CHECK(splitter.tail().size() <= 100);
                piece.erase(0, took.consumed);
                REQUIRE_FALSE(piece.empty());
                splitter.raise_limit(400);
                took = splitter.feed(piece, event, run);
            }
            CHECK(took.consumed == piece.size());
        }
        CHECK(splitter.finish(event, run));
        CHECK(passed == text);
        REQUIRE(events.size() == 4);
        CHECK(events[0].data == "a");
        CHECK(events[2].raw == big);
        CHECK(splitter.memory() <= 4096);
    }
    sse_splitter splitter(10);
    const auto never = [](const sse_event&) { return true; };
    const auto nothing = [](std::string_view) {};
    CHECK(splitter.feed("data: 0123456789", never, nothing).status == sse_status::full);
    CHECK(splitter.feed("data: 0123456789", never, nothing).status == sse_status::full);
}

TEST_CASE("a limit that was raised for one event is lowered again") {
    sse_splitter splitter(100);
    std::string passed;
    const auto event = [](const sse_event&) { return true; };
    const auto run = [&](std::string_view raw) { passed += raw; };
    const std::string large = "data: " + std::string(150, 'x') + "\n\n";
    CHECK(splitter.feed(large.substr(0, 120), event, run).status == sse_status::full);
    splitter.raise_limit(200);
    CHECK(splitter.memory() >= 200);
    CHECK(splitter.feed(large.substr(0, 120), event, run).status == sse_status::ok);
    splitter.lower_limit(100);
    CHECK(splitter.limit() == 120);  // what is held stays
    splitter.raise_limit(200);
    CHECK(splitter.feed(large.substr(120), event, run).status == sse_status::ok);
    splitter.lower_limit(100);
    CHECK(splitter.feed(large, event, run).status == sse_status::ok);  // whole in one piece
    CHECK(splitter.feed(large.substr(0, 120), event, run).status == sse_status::full);
    CHECK(passed == large + large);
}
