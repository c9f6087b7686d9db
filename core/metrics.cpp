// Cells, families and the text exposition.
#include "core/metrics.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <stdexcept>
#include <variant>

namespace kw::metrics {

namespace detail {

std::size_t thread_number() noexcept {
    static std::atomic<std::size_t> next{0};
    thread_local const std::size_t mine = next.fetch_add(1, std::memory_order_relaxed);
    return mine;
}

cells::cells(std::size_t count) : cells_(new cell[count]), mask_(count - 1) {}

std::int64_t cells::sum() const noexcept {
    std::int64_t total = 0;
    for (std::size_t i = 0; i <= mask_; ++i) {
        total += cells_[i].value.load(std::memory_order_relaxed);
    }
    return total;
}

}  // namespace detail

namespace {

constexpr std::size_t words_per_line = detail::cache_line / sizeof(std::uint64_t);
constexpr std::size_t max_cells = 64;

constexpr std::array<double, 17> latencies = {0.001, 0.0025, 0.005, 0.01,  0.02, 0.04,
                                              0.08,  0.16,   0.32,  0.64,  1.28, 2.56,
                                              5.12,  10.24,  20.48, 40.96, 81.92};
constexpr std::array<double, 13> overheads = {
    0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1};

void append_number(std::string& out, double value) {
    if (std::isinf(value)) {
        out += value > 0 ? "+Inf" : "-Inf";
        return;
    }
    char buffer[32];
    out.append(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
}

// With nine decimals where the integer counts billionths: exact, which a double would not be.
void append_scaled(std::string& out, std::int64_t value, scale unit) {
    constexpr std::int64_t billion = 1'000'000'000;
    if (unit == scale::one) {
        out += std::to_string(value);
        return;
    }
    out += std::to_string(value / billion);
    out += '.';
    out += std::to_string(billion + std::abs(value % billion)).substr(1);
}

void append_escaped(std::string& out, std::string_view text, bool quote) {
    for (const char c : text) {
        if (c == '\n') {
            out += "\\n";
            continue;
        }
        if (c == '\\' || (quote && c == '"')) out += '\\';
        out += c;
    }
}

[[nodiscard]] bool valid_name(std::string_view name, bool colon) {
    const auto ok = [colon](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colon && c == ':');
    };
    if (name.empty() || !ok(name[0])) return false;
    return std::all_of(name.begin(), name.end(),
                       [&ok](char c) { return ok(c) || (c >= '0' && c <= '9'); });
}

// `a="1",b="2"`, and with other: `a="other",b="other"`.
[[nodiscard]] std::string label_text(labels with, bool other) {
    std::string text;
    for (const auto& [name, value] : with) {
        if (!valid_name(name, false) || name == "le") {
            throw std::logic_error("bad metric label: " + std::string(name));
        }
        if (!text.empty()) text += ',';
        text += name;
        text += "=\"";
        append_escaped(text, other ? std::string_view("other") : value, true);
        text += '"';
    }
    return text;
}

void append_sample(std::string& out, std::string_view name, std::string_view suffix,
                   std::string_view label_set, std::string_view extra_label) {
    out += name;
    out += suffix;
    if (!label_set.empty() || !extra_label.empty()) {
        out += '{';
        out += label_set;
        if (!label_set.empty() && !extra_label.empty()) out += ',';
        out += extra_label;
        out += '}';
    }
    out += ' ';
}

}  // namespace

histogram::histogram(std::size_t cell_count, std::span<const double> bounds)
    : bounds_(bounds.begin(), bounds.end()),
      stride_((bounds.size() + 2 + words_per_line - 1) / words_per_line),
      mask_(cell_count - 1),
      lines_(new line[stride_ * cell_count]()) {}

std::atomic<std::uint64_t>& histogram::word(std::size_t cell, std::size_t index) const {
    return lines_[cell * stride_ + index / words_per_line].words[index % words_per_line];
}

void histogram::observe(double seconds) noexcept {
    if (!(seconds > 0)) seconds = 0;  // a clock that was set back, or NaN
    const auto bucket = static_cast<std::size_t>(
        std::lower_bound(bounds_.begin(), bounds_.end(), seconds) - bounds_.begin());
    constexpr double longest = 1e9;  // 31 years; keeps the conversion below defined
    const auto nanoseconds = static_cast<std::uint64_t>(std::min(seconds, longest) * 1e9);
    const std::size_t cell = detail::thread_number() & mask_;
    word(cell, bucket).fetch_add(1, std::memory_order_relaxed);
    word(cell, bounds_.size() + 1).fetch_add(nanoseconds, std::memory_order_relaxed);
}

histogram::totals histogram::read() const {
    totals t;
    t.buckets.resize(bounds_.size() + 1);
    std::uint64_t nanoseconds = 0;
    for (std::size_t cell = 0; cell <= mask_; ++cell) {
        for (std::size_t i = 0; i < t.buckets.size(); ++i) {
            const auto n = word(cell, i).load(std::memory_order_relaxed);
            t.buckets[i] += n;
            t.count += n;
        }
        nanoseconds += word(cell, bounds_.size() + 1).load(std::memory_order_relaxed);
    }
    t.sum_seconds = static_cast<double>(nanoseconds) / 1e9;
    return t;
}

std::span<const double> latency_bounds() noexcept {
    return latencies;
}
std::span<const double> overhead_bounds() noexcept {
    return overheads;
}

struct detail::family {
    using metric =
        std::variant<std::unique_ptr<counter>, std::unique_ptr<gauge>, std::unique_ptr<histogram>>;

    std::string help;
    std::string_view type;  // a literal
    scale unit = scale::one;
    std::map<std::string, metric, std::less<>> children;  // by label text

    void render(std::string& out, std::string_view name) const {
        out += "# HELP ";
        out += name;
        out += ' ';
        append_escaped(out, help, false);
        out += "\n# TYPE ";
        out += name;
        out += ' ';
        out += type;
        out += '\n';
        for (const auto& [label_set, child] : children) {
            std::visit([&](const auto& m) { render_child(out, name, label_set, *m); }, child);
        }
    }

    void render_child(std::string& out, std::string_view name, std::string_view label_set,
                      const counter& c) const {
        append_sample(out, name, "", label_set, "");
        append_scaled(out, c.value(), unit);
        out += '\n';
    }

    static void render_child(std::string& out, std::string_view name, std::string_view label_set,
                             const gauge& g) {
        append_sample(out, name, "", label_set, "");
        append_number(out, g.value());
        out += '\n';
    }

    static void render_child(std::string& out, std::string_view name, std::string_view label_set,
                             const histogram& h) {
        const auto totals = h.read();
        std::uint64_t cumulative = 0;
        for (std::size_t i = 0; i < totals.buckets.size(); ++i) {
            cumulative += totals.buckets[i];
            std::string le = "le=\"";
            append_number(le, i < h.bounds().size() ? h.bounds()[i] : HUGE_VAL);
            le += '"';
            append_sample(out, name, "_bucket", label_set, le);
            out += std::to_string(cumulative) + '\n';
        }
        append_sample(out, name, "_sum", label_set, "");
        append_number(out, totals.sum_seconds);
        out += '\n';
        append_sample(out, name, "_count", label_set, "");
        out += std::to_string(totals.count) + '\n';
    }
};

registry::registry(std::size_t expected_threads, std::size_t max_children)
    : cell_count_(std::bit_ceil(std::clamp<std::size_t>(expected_threads, 1, max_cells))),
      max_children_(max_children) {}

registry::~registry() = default;

template <class Metric, class... Args>
Metric& registry::child(std::string_view name, std::string_view help, std::string_view type,
                        scale unit, labels with, const Args&... args) {
    std::string label_set = label_text(with, false);
    const std::lock_guard lock(mutex_);
    auto found = families_.find(name);
    if (found == families_.end()) {
        if (!valid_name(name, true))
            throw std::logic_error("bad metric name: " + std::string(name));
        auto made = std::make_unique<detail::family>();
        made->help = help;
        made->type = type;
        made->unit = unit;
        found = families_.emplace(name, std::move(made)).first;
    }
    detail::family& f = *found->second;
    if (f.type != type) {
        throw std::logic_error("metric " + std::string(name) + " already has another type");
    }
    auto at = f.children.find(label_set);
    if (at == f.children.end() && f.children.size() >= max_children_) {
        label_set = label_text(with, true);
        at = f.children.find(label_set);
    }
    if (at == f.children.end()) {
        auto made = std::make_unique<Metric>(cell_count_, args...);
        at = f.children.emplace(std::move(label_set), std::move(made)).first;
    }
    return *std::get<std::unique_ptr<Metric>>(at->second);
}

counter& registry::counter(std::string_view name, std::string_view help, labels with, scale unit) {
    return child<metrics::counter>(name, help, "counter", unit, with);
}

gauge& registry::gauge(std::string_view name, std::string_view help, labels with) {
    return child<metrics::gauge>(name, help, "gauge", scale::one, with);
}

histogram& registry::histogram(std::string_view name, std::string_view help,
                               std::span<const double> bounds, labels with) {
    return child<metrics::histogram>(name, help, "histogram", scale::one, with, bounds);
}

void registry::before_render(std::function<void()> refresh) {
    const std::lock_guard lock(mutex_);
    refreshers_.push_back(std::move(refresh));
}

std::string registry::render() const {
    std::vector<std::function<void()>> refreshers;
    {
        const std::lock_guard lock(mutex_);
        refreshers = refreshers_;
    }
    for (const auto& refresh : refreshers)
        refresh();

    const std::lock_guard lock(mutex_);
    std::string out;
    for (const auto& [name, family] : families_)
        family->render(out, name);
    return out;
}

}  // namespace kw::metrics
