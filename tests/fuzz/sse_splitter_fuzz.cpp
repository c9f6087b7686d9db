// Server-sent events: split anywhere, the same events; every byte comes out once and in order.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "net/sse_splitter.hpp"

using namespace kw::net;

namespace {

void require(bool truth) {
    if (!truth) std::abort();
}

struct transcript {
    std::string events;
    std::string passed;
    std::string tail;
    bool clean = false;
    friend bool operator==(const transcript&, const transcript&) = default;
};

// Cuts by the bytes of `cuts` in turn; 0 means a whole rest.
transcript split(std::string_view text, std::string_view cuts, std::size_t limit) {
    transcript t;
    sse_splitter splitter(limit);
    const auto event = [&](const sse_event& e) {
        t.events.append(std::to_string(static_cast<int>(e.kind))).append("[");
        t.events.append(e.raw).append("|").append(e.name).append("|");
        append_data(t.events, e);
        if (e.data_lines <= 1) {
            std::string joined;
            append_data(joined, e);
            require(joined == e.data);
        }
        t.events.append("]").append(std::to_string(e.data_lines));
        return true;
    };
    const auto run = [&](std::string_view raw) {
        require(!raw.empty());
        t.passed.append(raw);
    };
    std::size_t turn = 0;
    while (!text.empty()) {
        const std::size_t n =
            cuts.empty() ? 0 : static_cast<unsigned char>(cuts[turn++ % cuts.size()]);
        // A copy of its own size, so that a sanitizer sees any view that outlives it.
        std::string piece(text.substr(0, n == 0 ? text.size() : n));
        text.remove_prefix(piece.size());
        auto took = splitter.feed(piece, event, run);
        while (took.status == sse_status::full) {
            require(splitter.tail().size() <= limit);
            piece.erase(0, took.consumed);
            limit = limit * 2 + piece.size();
            splitter.raise_limit(limit);
            took = splitter.feed(std::string(piece), event, run);
        }
        require(took.consumed == piece.size());
    }
    t.clean = splitter.finish(event, run);
    t.tail = splitter.tail();
    require(t.clean == t.tail.empty());
    return t;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 4) return 0;
    const std::string_view cuts(reinterpret_cast<const char*>(data), 3);
    const std::string_view text(reinterpret_cast<const char*>(data) + 3, size - 3);
    const transcript whole = split(text, {}, 64 * 1024);
    require(whole.passed + whole.tail == text);
    require(split(text, std::string_view("\x01", 1), 64 * 1024) == whole);
    require(split(text, cuts, 64 * 1024) == whole);
    require(split(text, cuts, 8) == whole);
    return 0;
}
