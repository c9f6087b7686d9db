// The logging facade over spdlog: lines are formatted here, by the caller's thread; the library
// carries them through its bounded queue to the writer's thread.
#include "core/log.hpp"

#include <spdlog/async.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <stdexcept>

#include "core/json_writer.hpp"

namespace kw::log {

namespace {

constexpr std::size_t queue_lines = 8192;
constexpr std::array<std::string_view, 6> level_names = {"trace", "debug", "info",
                                                         "warn",  "error", "off"};

struct writer {
    std::shared_ptr<spdlog::details::thread_pool> pool;
    std::shared_ptr<spdlog::logger> logger;
    bool json = true;
};

// Changed by start() and stop() only, when no other thread logs.
writer& the_writer() {
    static writer w;
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

void append_json_line(std::string& out, level lvl, std::string_view name,
                      std::initializer_list<field> fields) {
    out += R"({"ts":")";
    append_timestamp(out);
    out += R"(","level":")";
    out += level_names[static_cast<std::size_t>(lvl)];
    out += R"(","event":)";
    append_json_string(out, name);
    for (const auto& f : fields) {
        out += ',';
        append_json_string(out, f.name);
        out += ':';
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
        sink = std::make_shared<spdlog::sinks::stdout_sink_mt>();
    } else {
        try {
            sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(opts.file);
        } catch (const spdlog::spdlog_ex& e) {
            throw std::runtime_error(std::string("cannot open the log file: ") + e.what());
        }
    }
    auto& w = the_writer();
    w.json = opts.json;
    w.pool = std::make_shared<spdlog::details::thread_pool>(queue_lines, 1);
    w.logger = std::make_shared<spdlog::async_logger>(
        "keywheel", std::move(sink), w.pool, spdlog::async_overflow_policy::overrun_oldest);
    w.logger->set_pattern("%v");
    w.logger->set_level(spdlog::level::trace);  // filtered before, by min_level
    w.logger->flush_on(spdlog::level::trace);   // on the writer's thread
    set_level(opts.min);
}

void stop() {
    set_level(level::off);
    auto& w = the_writer();
    w.logger.reset();
    w.pool.reset();  // writes the rest and joins the thread
}

std::uint64_t dropped() noexcept {
    const auto& w = the_writer();
    return w.pool ? w.pool->overrun_counter() : 0;
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
    auto& w = the_writer();
    if (!w.logger) return;
    thread_local std::string line;
    line.clear();
    (w.json ? append_json_line : append_text_line)(line, lvl, event, fields);
    w.logger->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace kw::log
