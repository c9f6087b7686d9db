// Calls of the admin API for the command line, and how their answers are shown.
#include "app/remote.hpp"

#include <termios.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <iostream>
#include <vector>

#include "app/api_client.hpp"

namespace kw::app {
namespace {

namespace json = boost::json;

constexpr std::size_t longest_text = std::size_t{64} << 20U;

// What is typed does not show while this lives.
class no_echo {
  public:
    no_echo() {
        known_ = ::tcgetattr(STDIN_FILENO, &before_) == 0;
        if (!known_) return;
        auto quiet = before_;
        quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
        ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
    ~no_echo() {
        if (known_) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
    }
    no_echo(const no_echo&) = delete;
    no_echo& operator=(const no_echo&) = delete;

  private:
    termios before_{};
    bool known_ = false;
};

void append_encoded(std::string& out, std::string_view text) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '~';
        if (plain)
            out += c;
        else
            (out += '%').append({digits[byte >> 4U], digits[byte & 15U]});
    }
}

std::string shown(const json::value& v) {
    if (v.is_string()) return v.get_string().empty() ? "-" : std::string(v.get_string());
    if (v.is_null()) return "-";
    if (const auto* list = v.if_array()) {
        std::string out;
        for (const auto& one : *list)
            out += (out.empty() ? "" : ",") + shown(one);
        return out.empty() ? "-" : out;
    }
    if (const auto* o = v.if_object())
        if (const auto* dollars = o->if_contains("dollars")) return shown(*dollars);
    return json::serialize(v);
}

secret first_line(std::istream& in) {
    std::string line;
    std::getline(in, line);
    if (line.ends_with('\r')) line.pop_back();
    return secret(std::move(line));
}

// Columns of a terminal: continuation bytes of UTF-8 take none.
std::size_t width_of(std::string_view text) noexcept {
    return static_cast<std::size_t>(std::ranges::count_if(
        text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

}  // namespace

std::string config_file_of(const std::string& given, const config::environment& env) {
    if (!given.empty()) return given;
    if (const auto named = env.find("KEYWHEEL_CONFIG");
        named != env.end() && !named->second.empty())
        return named->second;
    return std::ifstream("keywheel.yaml").good() ? "keywheel.yaml" : "";
}

void remote::options(CLI::App& verb) {
    verb.add_option("--config", config_file_, "YAML file of the server");
    verb.add_option("--url", url_, "Of the running server (default: as configured)");
    verb.add_option("--ca", ca_, "PEM file to verify https with");
    verb.add_flag("--json", json_, "Show the API's answer as it is");
}

json::object remote::call(std::string_view method, std::string_view path, std::string body) const {
    const auto got = call_api(find_api(config_file_of(config_file_, env_), env_, url_, ca_), method,
                              path, std::move(body));
    boost::system::error_code failed;
    const auto v = json::parse(got.body, failed);
    const auto* o = failed ? nullptr : v.if_object();
    if (o == nullptr)
        throw std::runtime_error("status " + std::to_string(got.status) +
                                 ", and no answer of keywheel's");
    if (got.status >= 300) throw std::runtime_error(text_of(*o, "message"));
    if (json_) std::cout << got.body << '\n';
    const auto* data = o->if_contains("data");
    return data != nullptr && data->is_object() ? data->get_object() : json::object();
}

std::string query(std::initializer_list<std::pair<std::string_view, std::string_view>> parameters) {
    std::string out;
    for (const auto& [name, value] : parameters) {
        if (value.empty()) continue;
        out += out.empty() ? '?' : '&';
        out.append(name).append("=");
        append_encoded(out, value);
    }
    return out;
}

std::string path_part(std::string_view text) {
    std::string out;
    append_encoded(out, text);
    return out;
}

std::string text_of(const json::object& of, std::string_view member) {
    const auto dot = member.find('.');
    const auto* v = of.if_contains(member.substr(0, dot));
    if (v == nullptr) return "-";
    if (dot == std::string_view::npos) return shown(*v);
    return v->is_object() ? text_of(v->get_object(), member.substr(dot + 1)) : "-";
}

void print_table(const json::array& rows, std::initializer_list<column> columns) {
    std::vector<std::vector<std::string>> lines(1);
    for (const auto& c : columns)
        lines[0].emplace_back(c.title);
    for (const auto& row : rows) {
        auto& line = lines.emplace_back();
        for (const auto& c : columns)
            line.push_back(row.is_object() ? text_of(row.get_object(), c.member) : "-");
    }
    std::vector<std::size_t> widths(columns.size());
    for (const auto& line : lines)
        for (std::size_t i = 0; i < line.size(); ++i)
            widths[i] = std::max(widths[i], width_of(line[i]));
    for (const auto& line : lines) {
        std::string out;
        for (std::size_t i = 0; i < line.size(); ++i) {
            out += line[i];
            if (i + 1 < line.size()) out.append(widths[i] + 2 - width_of(line[i]), ' ');
        }
        std::cout << out << '\n';
    }
}

secret read_secret(const std::string& file, std::string_view prompt) {
    if (file.empty() && ::isatty(STDIN_FILENO) != 0) {
        const no_echo quiet;
        std::cerr << prompt << ": " << std::flush;
        auto typed = first_line(std::cin);
        std::cerr << '\n';
        return typed;
    }
    if (file.empty() || file == "-") return first_line(std::cin);
    std::ifstream in(file);
    if (!in.good()) throw std::runtime_error(file + " cannot be read");
    return first_line(in);
}

std::string read_text(const std::string& file) {
    std::ifstream opened;
    if (file != "-") {
        opened.open(file, std::ios::binary);
        if (!opened.good()) throw std::runtime_error(file + " cannot be read");
    }
    std::istream& in = file == "-" ? std::cin : opened;
    std::string text;
    for (char piece[65536]; in.read(piece, sizeof piece) || in.gcount() > 0;) {
        text.append(piece, static_cast<std::size_t>(in.gcount()));
        if (text.size() > longest_text) throw std::runtime_error(file + " is over 64 MiB");
    }
    return text;
}

}  // namespace kw::app
