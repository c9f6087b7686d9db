// Cuts a server-sent-event stream (WHATWG HTML §9.2) into whole events while it passes, without
// copying any byte of an event that came in one piece.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace kw::net {

enum class sse_kind : std::uint8_t {
    event,    // has at least one field line
    comment,  // one line beginning with a colon, before any field: a heartbeat
    blank,    // an empty line with nothing before it
};

// Views are valid during the callback only.
struct sse_event {
    sse_kind kind = sse_kind::event;
    std::string_view raw;   // as received, line ends and closing blank line included
    std::string_view name;  // of the last `event:` field; "" is the default, "message"
    // Of a single `data:` field. With several it is the first one's: use append_data().
    std::string_view data;
    std::uint32_t data_lines = 0;
};

// The event's data with its lines joined by LF, as a browser would deliver it.
void append_data(std::string& out, const sse_event& event);

enum class sse_status : std::uint8_t { ok, full };

// One object per stream; not thread-safe. Lines end in LF, CRLF or CR, mixed at will. However the
// stream is cut into pieces, the same events come out with the same bytes. A CR that ends a piece
// is held until the next byte tells whether it is half a CRLF. A byte order mark is passed on and
// not taken for a part of the first field's name.
class sse_splitter {
  public:
    static constexpr std::size_t default_limit = 64 * 1024;

    // limit: bytes of an unfinished event that may be held.
    explicit sse_splitter(std::size_t limit = default_limit) noexcept : limit_(limit) {}

    struct step {
        // Bytes of the piece that were taken; all of them unless status is `full`.
        std::size_t consumed = 0;
        sse_status status = sse_status::ok;
    };

    // Calls bool event(const sse_event&) for each event that is now complete, in order: true to
    // pass it on, false to drop it. Calls run(std::string_view) with the bytes of each run of
    // events to pass on: a whole piece at once when it holds whole events only.
    //
    // `full`: the unfinished event is larger than the limit. All before it has been delivered.
    // Either raise_limit() and feed the rest of the piece (from `consumed`), or give up.
    template <class Event, class Run>
    step feed(std::string_view piece, Event&& event, Run&& run);

    // The stream has ended: delivers an event that only a held CR kept open. Returns whether the
    // stream ended between events; if not, tail() is the unfinished one.
    template <class Event, class Run>
    bool finish(Event&& event, Run&& run);

    // Takes the memory at once, so that it is the limit's and no more. Throws std::bad_alloc.
    void raise_limit(std::size_t limit) {
        if (limit <= limit_) return;
        limit_ = limit;
        tail_.reserve(limit_);
    }
    // Not below what is held.
    void lower_limit(std::size_t limit) noexcept {
        limit_ = std::min(limit_, std::max(limit, tail_.size()));
    }
    [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
    // The unfinished event's bytes so far.
    [[nodiscard]] std::string_view tail() const noexcept { return tail_; }
    // Bytes of memory held.
    [[nodiscard]] std::size_t memory() const noexcept { return tail_.capacity(); }

  private:
    static constexpr std::size_t kept_capacity = 4 * 1024;

    // The event now being read; positions count from its first byte.
    struct partial {
        std::size_t line = 0;  // where the current line begins
        std::size_t name_at = 0, name_size = 0;
        std::size_t data_at = 0, data_size = 0;
        std::uint32_t data_lines = 0;
        bool fields = false;
    };

    // Finds line ends in one piece; looks at each byte a fixed number of times.
    class line_finder {
      public:
        line_finder(const char* from, const char* end) noexcept : lf_(from), end_(end) {}
        // The first CR or LF in [from, end), end if there is none. from only grows.
        [[nodiscard]] const char* next(const char* from) noexcept;

      private:
        const char* lf_;
        const char* end_;
        bool fresh_ = true;
    };

    // A line [at_.line, content_end) with its end at line_end is complete in the event that
    // begins at base. Returns whether the event is complete with it.
    bool take_line(const char* base, std::size_t content_end, std::size_t line_end) noexcept;
    [[nodiscard]] sse_event make_event(const char* base, std::size_t size) const noexcept;
    void forget_tail() noexcept;
    void next_event() noexcept { at_ = partial{}; }

    template <class Event, class Run>
    void deliver_tail(Event& event, Run& run);

    std::size_t limit_;
    std::string tail_;
    partial at_;
    sse_kind kind_ = sse_kind::event;  // of the event that take_line() has just completed
    bool first_event_ = true;
    bool held_cr_ = false;  // the tail ends in a CR that may be half a CRLF
};

template <class Event, class Run>
void sse_splitter::deliver_tail(Event& event, Run& run) {
    const std::string_view raw = tail_;
    if (event(make_event(raw.data(), raw.size()))) run(raw);
    forget_tail();
    next_event();
}

template <class Event, class Run>
sse_splitter::step sse_splitter::feed(std::string_view piece, Event&& event, Run&& run) {
    if (piece.empty()) return {};
    const char* const begin = piece.data();
    const char* const end = begin + piece.size();
    const char* p = begin;  // all before it has been taken
    line_finder lines(begin, end);

    // First the event that an earlier piece began: only its own bytes are copied.
    if (held_cr_) {
        held_cr_ = false;
        const std::size_t content = tail_.size() - 1;
        if (*p == '\n') tail_.push_back(*p++);
        if (take_line(tail_.data(), content, tail_.size())) deliver_tail(event, run);
    }
    while (!tail_.empty() && p < end) {
        const char* const eol = lines.next(p);
        const bool unsure = end - eol == 1 && *eol == '\r';
        const bool crlf = end - eol >= 2 && eol[0] == '\r' && eol[1] == '\n';
        const char* const stop = eol == end ? end : eol + (crlf ? 2 : 1);
        // With a byte to spare for the LF that a held CR may want.
        if (tail_.size() + static_cast<std::size_t>(stop - p) + (unsure ? 1 : 0) > limit_)
            return {static_cast<std::size_t>(p - begin), sse_status::full};
        const std::size_t content = tail_.size() + static_cast<std::size_t>(eol - p);
        tail_.append(p, stop);
        p = stop;
        if (eol == end) break;
        if (unsure) {
            held_cr_ = true;
        } else if (take_line(tail_.data(), content, tail_.size())) {
            deliver_tail(event, run);
        }
    }

    // Then whole events straight from the piece.
    const char* run_from = p;
    const char* start = p;  // of the event now read
    const char* line = p;
    while (line < end) {
        const char* const eol = lines.next(line);
        if (eol == end) break;
        if (*eol == '\r' && eol + 1 == end) {
            held_cr_ = true;
            break;
        }
        line = eol + (eol[0] == '\r' && eol[1] == '\n' ? 2 : 1);
        if (!take_line(start, static_cast<std::size_t>(eol - start),
                       static_cast<std::size_t>(line - start)))
            continue;
        if (!event(make_event(start, static_cast<std::size_t>(line - start)))) {
            if (run_from < start) run(std::string_view(run_from, start));
            run_from = line;
        }
        start = line;
        next_event();
    }
    if (run_from < start) run(std::string_view(run_from, start));
    if (start == end) return {piece.size(), sse_status::ok};

    if (static_cast<std::size_t>(end - start) + (held_cr_ ? 1 : 0) > limit_) {
        held_cr_ = false;
        next_event();
        return {static_cast<std::size_t>(start - begin), sse_status::full};
    }
    tail_.assign(start, end);
    return {piece.size(), sse_status::ok};
}

template <class Event, class Run>
bool sse_splitter::finish(Event&& event, Run&& run) {
    if (std::exchange(held_cr_, false) && take_line(tail_.data(), tail_.size() - 1, tail_.size()))
        deliver_tail(event, run);
    return tail_.empty();
}

}  // namespace kw::net
