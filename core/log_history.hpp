// The last lines of the log in memory, for who looks on while it is written. A reader says where it
// is and gets what came since: nothing is kept for it, so a slow one costs nothing and learns how
// many lines it missed.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/log.hpp"

namespace kw::log {

// What a reader wants of the lines.
struct line_filter {
    level least = level::trace;
    std::string text;  // somewhere in the line, letters of either case; "": any
    [[nodiscard]] bool takes(level at, std::string_view line) const noexcept;
};

// Any thread. Lines have numbers that count up by one.
class history {
  public:
    static constexpr std::size_t max_bytes = 4U << 20U;

    explicit history(std::size_t most_lines = 0) : most_lines_(most_lines) {}

    // 0: keeps nothing.
    void resize(std::size_t most_lines);
    [[nodiscard]] bool wanted() const noexcept {
        return most_lines_.load(std::memory_order_relaxed) > 0;
    }

    // JSON lines as the log writes them, each with its newline.
    void add(std::string_view lines);

    struct line {
        std::uint64_t number = 0;
        std::string text;  // without newline
    };
    struct reading {
        std::vector<line> lines;
        std::uint64_t next = 0;  // where to go on
        std::uint64_t lost = 0;  // had gone before they were read
    };
    // Of the lines from that number on those that the filter takes, about so many bytes of them. It
    // looks at a bounded number of lines: there may be more although none came.
    [[nodiscard]] reading read(std::uint64_t from, const line_filter& filter,
                               std::size_t most_bytes) const;
    // The number that the next line gets.
    [[nodiscard]] std::uint64_t next() const;
    // Where the last `count` lines that the filter takes begin.
    [[nodiscard]] std::uint64_t begin_of_last(std::size_t count, const line_filter& filter) const;

  private:
    struct kept {
        level at = level::info;
        std::string text;
    };
    void shrink();

    mutable std::mutex mutex_;
    std::atomic<std::size_t> most_lines_;
    std::uint64_t first_ = 1;  // the number of lines_.front(); guarded by mutex_, as what follows
    std::size_t bytes_ = 0;
    std::deque<kept> lines_;
};

// Of this process's log; empty until someone resizes it.
[[nodiscard]] history& recent();

}  // namespace kw::log
