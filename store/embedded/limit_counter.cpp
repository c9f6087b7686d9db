// Windows and periods in memory.
#include "store/embedded/limit_counter.hpp"

#include <algorithm>

namespace kw::store::embedded {

limit_counter::limit_counter(const limit& of, std::string name) : of_(of), name_(std::move(name)) {
    if (of.kind != limit_kind::sliding) return;
    part_ms_ = part_ms(of.length);
    ring_ = std::make_unique<std::array<std::int64_t, ring_size>>();
}

bool limit_counter::counts(std::int64_t now) const noexcept {
    if (!begun_) return false;
    if (of_.kind == limit_kind::sliding) return now / part_ms_ - head_ < ring_size;
    return end_ == 0 || now < end_;
}

std::int64_t limit_counter::used(std::int64_t now) const noexcept {
    if (!counts(now)) return 0;
    auto out = used_;
    if (of_.kind == limit_kind::sliding)
        for (auto i = head_ - window_parts; i < now / part_ms_ - window_parts; ++i)
            out -= part(i);
    return out;
}

void limit_counter::add(std::int64_t now, std::int64_t amount) noexcept {
    if (of_.kind == limit_kind::sliding) {
        const auto at = now / part_ms_;
        if (!counts(now)) {
            ring_->fill(0);
            used_ = 0;
        } else {
            for (auto i = head_ + 1; i <= at; ++i) {
                used_ -= part(i);
                part(i) = 0;
            }
        }
        head_ = at;
        part(at) += amount;
        begun_ = true;
    } else if (!counts(now)) {
        start(now);
    }
    used_ += amount;
}

void limit_counter::start(std::int64_t now) noexcept {
    const auto period = of_.kind == limit_kind::budget
                            ? bounds_of(of_, now)
                            : period_bounds{now, now + of_.length.count()};
    begin_ = period.begin;
    end_ = period.end;
    used_ = 0;
    begun_ = true;
}

void limit_counter::correct(std::int64_t at, std::int64_t difference) noexcept {
    if (!begun_) return;
    if (of_.kind == limit_kind::sliding) {
        const auto index = at / part_ms_;
        if (index > head_ || head_ - index >= ring_size) return;
        difference = std::max(difference, -part(index));
        part(index) += difference;
    } else if (at < begin_) {
        return;
    }
    used_ = std::max<std::int64_t>(used_ + difference, 0);
}

void limit_counter::preload(std::int64_t now, std::int64_t amount) noexcept {
    start(now);
    used_ = amount;
}

void limit_counter::clear() noexcept {
    used_ = 0;
    begun_ = false;
}

std::int64_t limit_counter::reset_in(std::int64_t now) const noexcept {
    if (used(now) == 0) return 0;
    if (of_.kind == limit_kind::sliding) return (head_ + ring_size) * part_ms_ - now;
    return end_ == 0 ? 0 : end_ - now;
}

std::int64_t limit_counter::retry_in(std::int64_t now, std::int64_t cap) const noexcept {
    if (of_.kind != limit_kind::sliding) return end_ == 0 ? 0 : end_ - now;
    auto left = used(now);
    for (auto i = now / part_ms_ - window_parts; i <= head_; ++i) {
        left -= part(i);
        if (left < cap) return (i + ring_size) * part_ms_ - now;
    }
    return 0;
}

bool limit_counter::spent(std::int64_t now) const noexcept {
    // What began counts as counted already, be it nothing: it is not preloaded again.
    return of_.kind == limit_kind::sliding ? used(now) == 0 : !counts(now);
}

}  // namespace kw::store::embedded
