// Counters, gauges and histograms, and the registry that renders them as Prometheus text.
//
// Ours rather than prometheus-cpp, because that takes a mutex per family and adds doubles in one
// shared word, while the data path needs an uncontended add in a cell of the thread's own.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kw::metrics {

namespace detail {
struct family;  // one name with its children; see metrics.cpp
inline constexpr std::size_t cache_line = 64;
// The calling thread's number: given out once, in order, from 0.
[[nodiscard]] std::size_t thread_number() noexcept;

// One word per cell, each on a cache line of its own; readers sum. Two threads may share a cell
// (there may be more threads than cells): slower, never wrong.
class cells {
  public:
    explicit cells(std::size_t count);  // a power of two
    void add(std::int64_t by) noexcept {
        cells_[thread_number() & mask_].value.fetch_add(by, std::memory_order_relaxed);
    }
    [[nodiscard]] std::int64_t sum() const noexcept;

  private:
    struct alignas(cache_line) cell {
        std::atomic<std::int64_t> value{0};
    };
    std::unique_ptr<cell[]> cells_;
    std::size_t mask_;
};
}  // namespace detail

// All three: any thread may call anything, nothing locks. References from the registry stay valid
// as long as the registry: look a child up once and keep it.

// Only goes up.
class counter {
  public:
    explicit counter(std::size_t cell_count) : cells_(cell_count) {}
    void add(std::int64_t by = 1) noexcept { cells_.add(by); }
    [[nodiscard]] std::int64_t value() const noexcept { return cells_.sum(); }

  private:
    detail::cells cells_;
};

// Goes up and down: either counted by add() from many threads, or set() by one.
class gauge {
  public:
    explicit gauge(std::size_t cell_count) : cells_(cell_count) {}
    void add(std::int64_t by) noexcept { cells_.add(by); }
    void set(double value) noexcept { base_.store(value, std::memory_order_relaxed); }
    [[nodiscard]] double value() const noexcept {
        return base_.load(std::memory_order_relaxed) + static_cast<double>(cells_.sum());
    }

  private:
    detail::cells cells_;
    std::atomic<double> base_{0};
};

// Observations in seconds, counted in buckets with fixed upper bounds (inclusive, ascending).
class histogram {
  public:
    histogram(std::size_t cell_count, std::span<const double> bounds);
    void observe(double seconds) noexcept;

    struct totals {
        std::vector<std::uint64_t> buckets;  // not cumulative; one more than bounds: above the last
        std::uint64_t count = 0;             // their sum
        double sum_seconds = 0;
    };
    [[nodiscard]] totals read() const;
    [[nodiscard]] std::span<const double> bounds() const noexcept { return bounds_; }

  private:
    std::vector<double> bounds_;
    std::size_t stride_;  // words per cell: buckets, then the sum in ns, filled up to a cache line
    std::size_t mask_;
    struct alignas(detail::cache_line) line {
        std::atomic<std::uint64_t> words[detail::cache_line / sizeof(std::uint64_t)];
    };
    std::unique_ptr<line[]> lines_;
    [[nodiscard]] std::atomic<std::uint64_t>& word(std::size_t cell, std::size_t index) const;
};

// From 1 ms to 82 s in doubling steps: latencies of requests and first tokens.
[[nodiscard]] std::span<const double> latency_bounds() noexcept;
// From 10 us to 100 ms: our own share.
[[nodiscard]] std::span<const double> overhead_bounds() noexcept;

// What a counter's integer means: itself, or billionths of the unit in the metric's name (money
// is counted in nano-dollars and shown in dollars).
enum class scale : std::uint8_t { one, nano };

struct label {
    std::string_view name;
    std::string_view value;
};
using labels = std::initializer_list<label>;

// Owns every metric. Families are made on first use, and so are the children of a family; past
// max_children distinct label sets, further ones all get one child whose labels are "other".
// Thread-safe by one mutex, which only look-ups and render() take.
// Throws std::logic_error for a bad name, or for a name already used with another type.
class registry {
  public:
    // expected_threads: how many threads count at the same time (workers and control).
    explicit registry(std::size_t expected_threads, std::size_t max_children = 2000);
    ~registry();
    registry(const registry&) = delete;
    registry& operator=(const registry&) = delete;

    metrics::counter& counter(std::string_view name, std::string_view help, labels with = {},
                              scale unit = scale::one);
    metrics::gauge& gauge(std::string_view name, std::string_view help, labels with = {});
    metrics::histogram& histogram(std::string_view name, std::string_view help,
                                  std::span<const double> bounds, labels with = {});

    // Runs at the start of every render(), outside the mutex: for gauges that are read off other
    // state. Register before the first render().
    void before_render(std::function<void()> refresh);

    // The Prometheus text exposition format, version 0.0.4; families in order of their names.
    [[nodiscard]] std::string render() const;

  private:
    template <class Metric, class... Args>
    Metric& child(std::string_view name, std::string_view help, std::string_view type, scale unit,
                  labels with, const Args&... args);

    mutable std::mutex mutex_;
    std::map<std::string, std::unique_ptr<detail::family>, std::less<>> families_;
    std::vector<std::function<void()>> refreshers_;
    std::size_t cell_count_;
    std::size_t max_children_;
};

}  // namespace kw::metrics
