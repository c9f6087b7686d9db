// Streams of the log.
#include "admin/live_log.hpp"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>

#include "admin/handlers.hpp"
#include "config/settings.hpp"

namespace kw::admin {
namespace {

using namespace std::chrono_literals;

constexpr auto heartbeat = 15s;
// Then the client comes back and is looked at anew; browsers do so by themselves.
constexpr auto longest_stream = std::chrono::hours(1);
constexpr std::size_t piece_size = std::size_t{64} << 10U;

void write_end(std::string& out, std::string_view reason) {
    out.append("event: end\ndata: {\"reason\":\"").append(reason).append("\"}\n\n");
}

}  // namespace

// Reads the ring where it left off: what a slow client did not take in time is gone, and counted.
class live_log::stream final : public net::control_stream {
  public:
    stream(const log::history& lines, log::line_filter filter, std::uint64_t from, std::string run)
        : lines_(lines), filter_(std::move(filter)), next_(from), run_(std::move(run)) {}

    bool take(std::string& out, mono_time now) override {
        const auto before = out.size();
        if (spoke_ == mono_time{}) {
            ends_ = now + longest_stream;
            spoke_ = now;
            out += "retry: 2000\n: the log begins\n\n";
        }
        if (ended_.load(std::memory_order_relaxed)) {
            write_end(out, "not_allowed");
            return false;
        }
        const auto got = lines_.read(next_, filter_, piece_size);
        next_ = got.next;
        if (got.lost > 0)
            out.append("event: dropped\ndata: {\"lines\":")
                .append(std::to_string(got.lost))
                .append("}\n\n");
        for (const auto& line : got.lines)
            out.append("event: log\nid: ")
                .append(run_)
                .append(std::to_string(line.number))
                .append("\ndata: ")
                .append(line.text)
                .append("\n\n");
        if (now >= ends_) {
            write_end(out, "come_again");
            return false;
        }
        if (out.size() == before && now >= spoke_ + heartbeat) out += ": alive\n\n";
        if (out.size() > before) spoke_ = now;
        return true;
    }
    void stop(std::string& out) override { write_end(out, "stopping"); }

    // By the control thread.
    void end() noexcept { ended_.store(true, std::memory_order_relaxed); }

  private:
    const log::history& lines_;
    const log::line_filter filter_;
    std::uint64_t next_;
    const std::string run_;
    mono_time spoke_{};
    mono_time ends_{};
    std::atomic<bool> ended_{false};
};

live_log::live_log(const log::history& lines, std::uint64_t run) : lines_(lines) {
    char text[20];
    run_.assign(text, std::to_chars(text, text + sizeof text, run, 16).ptr);
    run_ += '-';
}

std::shared_ptr<net::control_stream> live_log::open(const caller& who, const live_log_request& want,
                                                    std::size_t most) {
    forget_closed();
    const auto own = std::ranges::count_if(
        viewers_, [&](const auto& v) { return v.who.kind == who.kind && v.who.id == who.id; });
    if (viewers_.size() >= most_streams || static_cast<std::size_t>(own) >= most) return nullptr;
    auto from = lines_.begin_of_last(want.history, want.filter);
    if (want.last_event.starts_with(run_)) {
        const auto* begin = want.last_event.data() + run_.size();
        const auto* end = want.last_event.data() + want.last_event.size();
        std::uint64_t seen = 0;
        const auto read = std::from_chars(begin, end, seen);
        if (read.ec == std::errc{} && read.ptr == end && seen < lines_.next()) from = seen + 1;
    }
    auto made = std::make_shared<stream>(lines_, want.filter, from, run_);
    viewers_.push_back({who, made});
    viewers_.back().who.session_text = {};
    return made;
}

bool live_log::any() {
    forget_closed();
    return !viewers_.empty();
}

void live_log::forget_closed() {
    std::erase_if(viewers_, [](const auto& v) { return v.sees.expired(); });
}

void live_log::review(const std::function<bool(const caller&)>& may) {
    for (const auto& v : viewers_) {
        if (may(v.who)) continue;
        if (const auto open = v.sees.lock()) open->end();
    }
}

result<reply> stream_log(call& c) {
    auto q = c.query();
    live_log_request want;
    want.filter.least =
        static_cast<log::level>(q.choice("level", {"trace", "debug", "info", "warn", "error"}, 0));
    want.filter.text = q.text("q").value_or("");
    want.history = q.number("history", 100, 0, 10'000);
    if (const auto ok = q.finish(); !ok) return ok.error();
    if (want.filter.text.size() > 200) return bad_field("q", "is longer than 200 characters");
    want.last_event = c.request.last_event_id;
    reply out;
    out.stream = c.live.open(c.what.who, want, c.services.settings()->admin.live_logs);
    if (!out.stream) {
        out = refuse(429, "too_many_streams",
                     "so many streams of the log are open already: end one of them");
        return out;
    }
    out.content_type = "text/event-stream; charset=utf-8";
    out.headers.emplace_back("X-Accel-Buffering", "no");
    return out;
}

}  // namespace kw::admin
