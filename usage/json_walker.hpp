// A streaming reader of JSON text in pieces: tells its handler each scalar with its path, keeps
// nothing but the path and the beginning of the scalar at hand. Tolerant: broken text gives wrong
// events or none, never harm.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include "usage/json_keys.hpp"
#include "usage/scan_bytes.hpp"

namespace kw::usage {

struct json_value {
    enum class kind : std::uint8_t { string, number, literal };
    json_path path;
    key name;  // its key, or key::item
    kind what;
    std::string_view
        text;            // the first 96 bytes; a string's escapes undone as far as \x stands for x
    std::size_t length;  // the whole text's, as written
};

struct json_container {
    json_path path;
    key name;
    bool is_array;
    bool empty;  // on_close only
};

// Handler: on_value(const json_value&), on_open(const json_container&), on_close(…).
// The root object, the root array's elements, and objects under a root key `response` or `message`
// have the empty path: dialects nest the same object there.
template <class Handler>
class json_walker {
  public:
    void reset() noexcept {
        in_ = place::structure;
        value_next_ = escaped_ = dead_ = closed_root_ = false;
        depth_ = 0;
    }

    // A root object or array was read to its end and nothing is open.
    [[nodiscard]] bool complete() const noexcept { return depth_ == 0 && closed_root_; }

    void feed(std::string_view text, Handler& handler) {
        const char* p = text.data();
        const char* const end = p + text.size();
        while (p != end && !dead_) {
            if (in_ == place::string)
                p = string_piece(p, end, handler);
            else if (in_ == place::scalar)
                p = scalar_piece(p, end, handler);
            else
                p = structure(p, end, handler);
        }
    }

  private:
    enum class place : std::uint8_t { structure, string, scalar };
    static constexpr std::size_t max_depth = 24;  // deeper levels are counted, not named
    static constexpr std::size_t max_text = 96;

    struct level {
        json_path path = 0;
        key name = key::none;
        bool is_array = false;
        bool empty = true;
    };

    [[nodiscard]] level& top() noexcept { return depth_ > max_depth ? deep_ : levels_[depth_ - 1]; }

    const char* structure(const char* p, const char* end, Handler& handler) {
        for (; p != end && !dead_; ++p) {
            switch (*p) {
                case ' ':
                case '\t':
                case '\r':
                case '\n':
                    break;
                case ',':
                    value_next_ = depth_ != 0 && top().is_array;
                    break;
                case ':':
                    value_next_ = true;
                    break;
                case '{':
                case '[':
                    open(*p == '[', handler);
                    break;
                case '}':
                case ']':
                    close(handler);
                    break;
                case '"': {
                    if (depth_ == 0) {
                        dead_ = true;
                        return end;
                    }
                    // Most strings lie whole in the piece and have no escape: nothing is copied.
                    const char* const begin = p + 1;
                    const char* const stop = find_quote(begin, end);
                    if (stop == end || *stop != '"') {
                        size_ = length_ = 0;
                        escaped_ = false;
                        in_ = place::string;
                        return begin;
                    }
                    const auto length = static_cast<std::size_t>(stop - begin);
                    string_ends({begin, std::min(length, max_text)}, length, handler);
                    p = stop;
                    break;
                }
                default: {
                    if (depth_ == 0) {  // neither object nor array: nothing for us
                        dead_ = true;
                        return end;
                    }
                    const char* const stop = find_scalar_end(p, end);
                    if (stop == end) {
                        size_ = length_ = 0;
                        in_ = place::scalar;
                        return p;
                    }
                    const auto length = static_cast<std::size_t>(stop - p);
                    scalar_ends({p, std::min(length, max_text)}, length, handler);
                    p = stop - 1;
                    break;
                }
            }
        }
        return p;
    }

    const char* string_piece(const char* p, const char* end, Handler& handler) {
        if (escaped_) {
            escaped_ = false;
            keep(p, 1);
            if (++p == end) return p;
        }
        for (;;) {
            const char* stop = find_quote(p, end);
            keep(p, static_cast<std::size_t>(stop - p));
            if (stop == end) return end;
            if (*stop == '"') {
                in_ = place::structure;
                string_ends(kept(), length_, handler);
                return stop + 1;
            }
            ++length_;
            p = stop + 1;
            if (p == end) {
                escaped_ = true;
                return p;
            }
            keep(p, 1);
            ++p;
        }
    }

    const char* scalar_piece(const char* p, const char* end, Handler& handler) {
        const char* const stop = find_scalar_end(p, end);
        keep(p, static_cast<std::size_t>(stop - p));
        if (stop == end) return end;
        in_ = place::structure;
        scalar_ends(kept(), length_, handler);
        return stop;
    }

    [[nodiscard]] std::string_view kept() const noexcept { return {text_.data(), size_}; }

    // begin: the first bytes of a string or scalar of that length, whose end was just read.
    void string_ends(std::string_view begin, std::size_t length, Handler& handler) {
        level& at = top();
        at.empty = false;
        if (!at.is_array && !value_next_)
            name_ = find_key(begin);
        else
            value_ends(json_value::kind::string, begin, length, handler);
    }

    void scalar_ends(std::string_view begin, std::size_t length, Handler& handler) {
        top().empty = false;
        const char first = begin.front();
        const bool number = first == '-' || (first >= '0' && first <= '9');
        value_ends(number ? json_value::kind::number : json_value::kind::literal, begin, length,
                   handler);
    }

    void value_ends(json_value::kind what, std::string_view begin, std::size_t length,
                    Handler& handler) {
        const level& at = top();
        const key name = at.is_array ? key::item : name_;
        value_next_ = at.is_array;
        if (depth_ > max_depth) return;
        handler.on_value({below(at.path, name), name, what, begin, length});
    }

    void open(bool is_array, Handler& handler) {
        level next;
        next.is_array = is_array;
        if (depth_ != 0) {
            level& at = top();
            at.empty = false;
            next.name = at.is_array ? key::item : name_;
            const bool same_place = at.path == 0 && !is_array &&
                                    ((depth_ == 1 && (at.is_array || next.name == key::response ||
                                                      next.name == key::message)));
            next.path = same_place ? 0 : below(at.path, next.name);
        }
        ++depth_;
        top() = next;
        value_next_ = is_array;
        name_ = key::other;
        if (depth_ <= max_depth) handler.on_open({next.path, next.name, is_array, true});
    }

    void close(Handler& handler) {
        if (depth_ == 0) {
            dead_ = true;
            return;
        }
        const level at = top();
        const bool named = depth_ <= max_depth;
        --depth_;
        if (named) handler.on_close({at.path, at.name, at.is_array, at.empty});
        if (depth_ == 0) closed_root_ = true;
        value_next_ = depth_ != 0 && top().is_array;
    }

    void keep(const char* p, std::size_t n) noexcept {
        length_ += n;
        const std::size_t room = std::min(n, max_text - size_);
        std::copy_n(p, room, text_.data() + size_);
        size_ += room;
    }

    place in_ = place::structure;
    bool value_next_ = false;
    bool escaped_ = false;
    bool dead_ = false;
    bool closed_root_ = false;
    key name_ = key::other;
    std::uint32_t depth_ = 0;
    std::size_t size_ = 0;
    std::size_t length_ = 0;
    std::array<char, max_text> text_;
    std::array<level, max_depth> levels_;
    level deep_;
};

}  // namespace kw::usage
