// The ring of the log's last lines. Its lock is held by the log's own thread and by readers, never
// by who logs.
#include "core/log_history.hpp"

#include <algorithm>
#include <array>

namespace kw::log {
namespace {

constexpr std::size_t looked_at_once = 1000;  // lines
// Where the level of a line may stand: behind the time.
constexpr std::size_t level_before = 64;

char lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

level level_of(std::string_view line) noexcept {
    constexpr std::string_view name = R"("level":")";
    constexpr std::array<std::string_view, 5> words = {"trace", "debug", "info", "warn", "error"};
    const auto at = line.substr(0, level_before).find(name);
    if (at == std::string_view::npos) return level::info;
    line.remove_prefix(at + name.size());
    for (std::size_t i = 0; i < words.size(); ++i)
        if (line.starts_with(words[i])) return static_cast<level>(i);
    return level::info;
}

}  // namespace

bool line_filter::takes(level at, std::string_view line) const noexcept {
    if (at < least) return false;
    return text.empty() ||
           std::search(line.begin(), line.end(), text.begin(), text.end(),
                       [](char a, char b) { return lower(a) == lower(b); }) != line.end();
}

void history::resize(std::size_t most_lines) {
    const std::lock_guard lock(mutex_);
    most_lines_ = most_lines;
    shrink();
}

void history::add(std::string_view lines) {
    const std::lock_guard lock(mutex_);
    while (!lines.empty()) {
        const auto end = std::min(lines.find('\n'), lines.size());
        const auto one = lines.substr(0, end);
        lines.remove_prefix(std::min(end + 1, lines.size()));
        lines_.push_back({level_of(one), std::string(one)});
        bytes_ += one.size();
        shrink();
    }
}

void history::shrink() {
    while (!lines_.empty() && (lines_.size() > most_lines_ || bytes_ > max_bytes)) {
        bytes_ -= lines_.front().text.size();
        lines_.pop_front();
        ++first_;
    }
}

history::reading history::read(std::uint64_t from, const line_filter& filter,
                               std::size_t most_bytes) const {
    const std::lock_guard lock(mutex_);
    reading out;
    const auto begin = std::max(from, first_);
    out.lost = begin - from;
    std::size_t taken = 0;
    const auto end = std::min(first_ + lines_.size(), begin + looked_at_once);
    for (out.next = begin; out.next < end && taken < most_bytes; ++out.next) {
        const auto& one = lines_[out.next - first_];
        if (!filter.takes(one.at, one.text)) continue;
        taken += one.text.size();
        out.lines.push_back({out.next, one.text});
    }
    return out;
}

std::uint64_t history::next() const {
    const std::lock_guard lock(mutex_);
    return first_ + lines_.size();
}

std::uint64_t history::begin_of_last(std::size_t count, const line_filter& filter) const {
    const std::lock_guard lock(mutex_);
    auto at = first_ + lines_.size();
    for (auto n = at; count > 0 && n > first_;) {
        const auto& one = lines_[--n - first_];
        if (!filter.takes(one.at, one.text)) continue;
        at = n;
        --count;
    }
    return at;
}

history& recent() {
    static history all;
    return all;
}

}  // namespace kw::log
