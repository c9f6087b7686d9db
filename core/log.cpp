// The logging facade: lines are formatted by the caller's thread into one bounded buffer, and a
// thread of its own hands what has gathered to spdlog's sink, many lines at a time. A wake-up and a
// write for each line would cost a request more than its TLS.
#include "core/log.hpp"

#include <pthread.h>

#include <spdlog/details/log_msg.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/daily_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <ctime>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>

#include "core/json_writer.hpp"
#include "core/log_history.hpp"

namespace kw::log {

namespace {

constexpr std::size_t max_waiting = 4U << 20U;   // bytes; further lines are dropped
constexpr std::size_t write_early = 64U << 10U;  // bytes
constexpr auto gather_time = std::chrono::milliseconds(20);
constexpr std::array<std::string_view, 6> level_names = {"trace", "debug", "info",
                                                         "warn",  "error", "off"};

// Lines on their way to the sink.
class line_writer {
  public:
    line_writer(spdlog::sink_ptr sink, bool json)
        : json_(json), sink_(std::move(sink)), thread_([this] { run(); }) {
        ::pthread_setname_np(thread_.native_handle(), "kw-log");
    }
    line_writer(const line_writer&) = delete;
    line_writer& operator=(const line_writer&) = delete;

    // Writes what waits.
    ~line_writer() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_one();
        thread_.join();
    }

    [[nodiscard]] bool json() const noexcept { return json_; }

    // `shown` is the line for the history where that is another one than what is written.
    void add(std::string_view line, std::string_view shown, bool urgent) {
        bool wake = false;
        {
            const std::lock_guard lock(mutex_);
            if (waiting_.size() + shown_.size() + line.size() + shown.size() > max_waiting) {
                dropped_.fetch_add(1, std::memory_order_relaxed);
                return;
            }
            const bool first = waiting_.empty();
            waiting_ += line;
            shown_ += shown;
            const bool hurry = urgent || waiting_.size() > write_early;
            wake = first || (hurry && !hurry_);
            hurry_ = hurry_ || hurry;
        }
        if (wake) wake_.notify_one();
    }

    [[nodiscard]] std::uint64_t dropped() const noexcept {
        return dropped_.load(std::memory_order_relaxed);
    }

  private:
    void run() {
        std::string lines;
        std::string shown;
        std::unique_lock lock(mutex_);
        for (;;) {
            wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
            wake_.wait_for(lock, gather_time, [this] { return stopping_ || hurry_; });
            if (waiting_.empty()) return;
            lines.swap(waiting_);
            shown.swap(shown_);
            hurry_ = false;
            lock.unlock();
            write(lines);
            recent().add(json_ ? lines : shown);
            lines.clear();
            shown.clear();
            lock.lock();
        }
    }

    void write(const std::string& lines) noexcept {
        try {
            sink_->log({{}, spdlog::level::info, {lines.data(), lines.size()}});
            sink_->flush();
        } catch (const std::exception&) {
            // A full disk: nowhere to say so, but counted.
            for (const char c : lines)
                if (c == '\n') dropped_.fetch_add(1, std::memory_order_relaxed);
        }
    }

    const bool json_;
    const spdlog::sink_ptr sink_;
    std::atomic<std::uint64_t> dropped_{0};
    std::mutex mutex_;
    std::condition_variable wake_;
    std::string waiting_;    // guarded by mutex_, as what follows
    std::string shown_;      // the same lines as JSON, where they are written as text
    bool hurry_ = false;     // not to be gathered any longer
    bool stopping_ = false;  // the thread ends once nothing waits
    std::thread thread_;
};

// Changed by start() and stop() only, when no other thread logs.
std::unique_ptr<line_writer>& the_writer() {
    (void)recent();  // outlives the writer
    static std::unique_ptr<line_writer> w;
    return w;
}

std::atomic<level> min_level{level::off};
// "2026-01-01T00:00:00.000Z". The part down to the second is made once a second and thread.
void append_timestamp(std::string& out) {
    thread_local std::time_t cached_second = -1;
    thread_local char cached[24];
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                        std::chrono::system_clock::now().time_since_epoch())
                        .count();
    const std::time_t second = ms / 1000;
    if (second != cached_second) {
        std::tm parts{};
        gmtime_r(&second, &parts);
        std::strftime(cached, sizeof cached, "%Y-%m-%dT%H:%M:%S.", &parts);
        cached_second = second;
    }
    const auto rest = static_cast<unsigned>(ms % 1000);
    out += cached;
    out += static_cast<char>('0' + rest / 100);
    out += static_cast<char>('0' + rest / 10 % 10);
    out += static_cast<char>('0' + rest % 10);
    out += 'Z';
}

// Names are words in the code and need no escaping.
void append_json_line(std::string& out, level lvl, std::string_view name,
                      std::initializer_list<field> fields) {
    out += R"({"ts":")";
    append_timestamp(out);
    out += R"(","level":")";
    out += level_names[static_cast<std::size_t>(lvl)];
    out += R"(","event":")";
    out += name;
    out += '"';
    for (const auto& f : fields) {
        out += ",\"";
        out += f.name;
        out += "\":";
        json_writer writer(out);
        std::visit([&writer](const auto& v) { writer.value(v); }, f.value);
    }
    out += '}';
}

// A value of plain printable characters stands bare, any other is quoted as in JSON.
void append_text_value(std::string& out, std::string_view text) {
    bool bare = !text.empty();
    for (const char c : text)
        bare = bare && c > ' ' && c < 0x7f && c != '"' && c != '=';
    if (bare) {
        out += text;
    } else {
        append_json_string(out, text);
    }
}

void append_text_line(std::string& out, level lvl, std::string_view name,
                      std::initializer_list<field> fields) {
    append_timestamp(out);
    out += ' ';
    const auto level_name = level_names[static_cast<std::size_t>(lvl)];
    out += level_name;
    out.append(6 - level_name.size(), ' ');
    out += name;
    for (const auto& f : fields) {
        out += ' ';
        out += f.name;
        out += '=';
        if (const auto* text = std::get_if<std::string_view>(&f.value)) {
            append_text_value(out, *text);
        } else {
            json_writer writer(out);
            std::visit([&writer](const auto& v) { writer.value(v); }, f.value);
        }
    }
}

}  // namespace

void start(const options& opts) {
    stop();
    spdlog::sink_ptr sink;
    if (opts.file.empty()) {
        sink = std::make_shared<spdlog::sinks::stdout_sink_st>();
    } else {
        try {
            if (opts.keep_days == 0)
                sink = std::make_shared<spdlog::sinks::basic_file_sink_st>(opts.file);
            else
                sink = std::make_shared<spdlog::sinks::daily_file_sink_st>(opts.file, 0, 0, false,
                                                                           opts.keep_days);
        } catch (const spdlog::spdlog_ex& e) {
            throw std::runtime_error(std::string("cannot open the log file: ") + e.what());
        }
    }
    // As it is: the lines are whole.
    sink->set_formatter(std::make_unique<spdlog::pattern_formatter>(
        "%v", spdlog::pattern_time_type::utc, std::string()));
    the_writer() = std::make_unique<line_writer>(std::move(sink), opts.json);
    set_level(opts.min);
}

void stop() {
    set_level(level::off);
    the_writer().reset();
}

std::uint64_t dropped() noexcept {
    const auto& w = the_writer();
    return w ? w->dropped() : 0;
}

void set_level(level min) noexcept {
    min_level.store(min, std::memory_order_relaxed);
}

bool enabled(level lvl) noexcept {
    return lvl != level::off && lvl >= min_level.load(std::memory_order_relaxed);
}

result<level> parse_level(std::string_view name) {
    for (std::size_t i = 0; i < level_names.size(); ++i) {
        if (name == level_names[i]) return static_cast<level>(i);
    }
    return error(errc::invalid_argument,
                 "unknown log level; use trace, debug, info, warn, error or off");
}

void event(level lvl, std::string_view event, std::initializer_list<field> fields) {
    if (!enabled(lvl)) return;
    const auto& w = the_writer();
    if (!w) return;
    thread_local std::string line;
    line.clear();
    (w->json() ? append_json_line : append_text_line)(line, lvl, event, fields);
    line += '\n';
    thread_local std::string shown;
    shown.clear();
    if (!w->json() && recent().wanted()) {
        append_json_line(shown, lvl, event, fields);
        shown += '\n';
    }
    w->add(line, shown, lvl >= level::warn);
}

}  // namespace kw::log
