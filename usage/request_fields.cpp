// A strict JSON reader that looks at a few members of the root and only checks the rest.
#include "usage/request_fields.hpp"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <bitset>

#include "core/json_writer.hpp"
#include "usage/json_reader.hpp"

namespace kw::usage {
namespace {

void append_utf8(std::string& out, std::uint32_t c) {
    const auto byte = [&](std::uint32_t b) { out.push_back(static_cast<char>(b)); };
    if (c < 0x80) {
        byte(c);
    } else if (c < 0x800) {
        byte(0xC0 | c >> 6U);
        byte(0x80 | (c & 0x3FU));
    } else if (c < 0x10000) {
        byte(0xE0 | c >> 12U);
        byte(0x80 | (c >> 6U & 0x3FU));
        byte(0x80 | (c & 0x3FU));
    } else {
        byte(0xF0 | c >> 18U);
        byte(0x80 | (c >> 12U & 0x3FU));
        byte(0x80 | (c >> 6U & 0x3FU));
        byte(0x80 | (c & 0x3FU));
    }
}

// raw was checked by json_reader::string. A lone surrogate becomes U+FFFD, and is told.
std::string decode(std::string_view raw, bool* lone_surrogate = nullptr) {
    std::string out;
    out.reserve(raw.size());
    const auto unit = [&](std::size_t i) {
        std::uint32_t n = 0;
        for (std::size_t j = 2; j < 6; ++j)
            n = n << 4U | static_cast<std::uint32_t>(hex_digit(raw[i + j]));
        return n;
    };
    for (std::size_t i = 0; i < raw.size();) {
        if (raw[i] != '\\') {
            out.push_back(raw[i++]);
            continue;
        }
        if (raw[i + 1] != 'u') {
            constexpr std::string_view from = "bfnrt";
            constexpr std::string_view to = "\b\f\n\r\t";
            const std::size_t which = from.find(raw[i + 1]);
            out.push_back(which == std::string_view::npos ? raw[i + 1] : to[which]);
            i += 2;
            continue;
        }
        std::uint32_t c = unit(i);
        i += 6;
        if (c >= 0xD800 && c < 0xE000) {
            std::uint32_t low = 0;
            if (c < 0xDC00 && i + 6 <= raw.size() && raw[i] == '\\' && raw[i + 1] == 'u')
                low = unit(i);
            if (low >= 0xDC00 && low < 0xE000) {
                c = 0x10000 + ((c - 0xD800) << 10U) + (low - 0xDC00);
                i += 6;
            } else {
                c = 0xFFFD;
                if (lone_surrogate) *lone_surrogate = true;
            }
        }
        append_utf8(out, c);
    }
    return out;
}

enum class field : std::uint8_t {
    model,
    stream,
    stream_options,
    max_tokens,
    max_completion_tokens,
    max_output_tokens,
    n,
    background,
    prompt_cache_key,
    user,
    service_tier,
    previous_response_id,
    count_
};

constexpr std::array<std::string_view, static_cast<std::size_t>(field::count_)> field_names{
    "model",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n",
    "background",
    "prompt_cache_key",
    "user",
    "service_tier",
    "previous_response_id"};

field find_field(std::string_view name) noexcept {
    std::size_t i = 0;
    while (i < field_names.size() && field_names[i] != name)
        ++i;
    return static_cast<field>(i);
}

std::int64_t bounded_number(std::string_view text) noexcept {
    std::int64_t n = 0;
    for (const char c : text) {
        if (!is_digit(c)) break;
        n = std::min<std::int64_t>(n * 10 + (c - '0'), 1'000'000'000);
    }
    return n;
}

error broken(std::string what) {
    return error(errc::invalid_json, std::move(what), error_source::downstream);
}

class body_reader {
  public:
    explicit body_reader(std::string_view body) noexcept
        : begin_(body.data()), in_{body.data(), body.data() + body.size()} {}

    result<request_fields> read() {
        in_.blanks();
        if (!in_.at('{')) return broken("the body must be a JSON object");
        const bool good =
            in_.members(out_.object_empty, [this](std::string_view name) { return member(name); });
        if (!good)
            return failure_.empty() ? broken("the body is not valid JSON") : broken(failure_);
        out_.object_end = offset() - 1;
        in_.blanks();
        if (in_.p != in_.end) return broken("the body goes on after its JSON object");
        return std::move(out_);
    }

  private:
    [[nodiscard]] std::size_t offset() const noexcept {
        return static_cast<std::size_t>(in_.p - begin_);
    }

    // A name spelled with escapes is the same name to whoever reads the body after us.
    static std::string_view plain(std::string_view raw, std::string& space) {
        if (raw.find('\\') == std::string_view::npos) return raw;
        space = decode(raw);
        return space;
    }

    bool member(std::string_view raw_name) {
        std::string space;
        const field which = find_field(plain(raw_name, space));
        if (which == field::count_) return other(plain(raw_name, space));
        const auto bit = static_cast<std::size_t>(which);
        if (seen_[bit]) {
            failure_ = "the body names \"" + std::string(field_names[bit]) + "\" twice";
            return false;
        }
        seen_[bit] = true;

        const std::size_t start = offset();
        if (which == field::stream_options && in_.at('{')) {
            const bool good = in_.members(out_.stream_options_empty,
                                          [this](std::string_view n) { return option(n); });
            out_.stream_options = {start, offset()};
            return good;
        }
        const char first = in_.p == in_.end ? '\0' : *in_.p;
        if (!in_.value(1)) return false;
        const byte_range range{start, offset()};
        const std::string_view text(begin_ + start, range.size());
        switch (which) {
            case field::model:
                if (first == 'n') break;
                if (first != '"') {
                    failure_ = "\"model\" must be a string";
                    return false;
                }
                // No text at all: what others make of it is not what was looked up here.
                if (bool lone = false; out_.model = unquote(text, &lone), lone) {
                    failure_ = "\"model\" has half of a surrogate pair";
                    return false;
                }
                out_.model_value = range;
                break;
            case field::stream:
                out_.stream = first == 't';
                break;
            case field::background:
                out_.background = first == 't';
                break;
            case field::stream_options:  // null, or a mistake that the upstream will name
                if (first == 'n') {
                    out_.stream_options = range;
                    out_.stream_options_empty = out_.stream_options_null = true;
                } else {
                    out_.wants_usage = include_usage::yes;
                }
                break;
            case field::max_tokens:
            case field::max_completion_tokens:
            case field::max_output_tokens:
                out_.max_tokens = std::max(out_.max_tokens, bounded_number(text));
                break;
            case field::n:
                out_.n = std::max<std::int64_t>(bounded_number(text), 1);
                break;
            case field::prompt_cache_key:
                if (first == '"') out_.prompt_cache_key = unquote(text);
                break;
            case field::user:
                if (first == '"') out_.user = unquote(text);
                break;
            case field::service_tier:
                if (first == '"') out_.service_tier = unquote(text);
                break;
            case field::previous_response_id:
                if (first == '"') out_.previous_response_id = unquote(text);
                break;
            case field::count_:
                break;
        }
        return true;
    }

    // What decides nothing at the upstream that we rely on: it may come twice.
    bool other(std::string_view name) {
        const std::size_t start = offset();
        if (!in_.value(1)) return false;
        const byte_range range{start, offset()};
        if (name == "metadata")
            out_.metadata = range;
        else if (name == "messages" || name == "input" || name == "prompt" || name == "contents")
            out_.prompt = range;
        else if (name == "system" || name == "instructions")
            out_.preamble = range;
        else if (name == "store")
            out_.store = begin_[start] == 't';
        return true;
    }

    bool option(std::string_view raw_name) {
        std::string space;
        const bool ours = plain(raw_name, space) == "include_usage";
        const std::size_t start = offset();
        const char first = in_.p == in_.end ? '\0' : *in_.p;
        if (!in_.value(2)) return false;
        if (!ours) return true;
        if (!out_.include_usage_value.empty()) {
            failure_ = "the body names \"include_usage\" twice";
            return false;
        }
        out_.include_usage_value = {start, offset()};
        out_.wants_usage = first == 't' ? include_usage::yes : include_usage::no;
        return true;
    }

    static std::string unquote(std::string_view text, bool* lone_surrogate = nullptr) {
        const std::string_view inside = text.substr(1, text.size() - 2);
        if (inside.find('\\') == std::string_view::npos) return std::string(inside);
        return decode(inside, lone_surrogate);
    }

    const char* begin_;
    json_reader in_;
    request_fields out_;
    std::bitset<static_cast<std::size_t>(field::count_)> seen_;
    std::string failure_;
};

}  // namespace

result<request_fields> read_request_fields(std::string_view body) {
    if (!simdjson::validate_utf8(body.data(), body.size()))
        return broken("the body is not valid UTF-8");
    return body_reader(body).read();
}

void splice_list::add(splice s) {
    std::size_t i = count_++;
    for (; i > 0 && splices_[i - 1].offset > s.offset; --i)
        splices_[i] = std::move(splices_[i - 1]);
    splices_[i] = std::move(s);
}

std::size_t splice_list::size_after(std::size_t body_size) const noexcept {
    for (std::size_t i = 0; i < count_; ++i)
        body_size += splices_[i].insert.size() - splices_[i].erase;
    return body_size;
}

std::string splice_list::apply(std::string_view body) const {
    std::string out;
    out.reserve(size_after(body.size()));
    for_each_piece(body, [&](std::string_view piece) { out += piece; });
    return out;
}

std::optional<splice> plan_include_usage(const request_fields& f) {
    if (f.wants_usage == include_usage::yes) return std::nullopt;
    if (f.wants_usage == include_usage::no)
        return splice{f.include_usage_value.begin, f.include_usage_value.size(), "true"};
    if (f.stream_options.empty())
        return splice{f.object_end, 0,
                      f.object_empty ? "\"stream_options\":{\"include_usage\":true}"
                                     : ",\"stream_options\":{\"include_usage\":true}"};
    if (f.stream_options_null)
        return splice{f.stream_options.begin, f.stream_options.size(), "{\"include_usage\":true}"};
    return splice{f.stream_options.begin + 1, 0,
                  f.stream_options_empty ? "\"include_usage\":true" : "\"include_usage\":true,"};
}

std::optional<splice> plan_model(const request_fields& f, std::string_view name) {
    if (f.model_value.empty() || f.model == name) return std::nullopt;
    splice s{f.model_value.begin, f.model_value.size(), {}};
    append_json_string(s.insert, name);
    return s;
}

}  // namespace kw::usage
