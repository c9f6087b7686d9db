// Line ends and fields of server-sent events.
#include "net/sse_splitter.hpp"

#include <cstring>

namespace kw::net {

namespace {

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

// The value of the field called name in this line (one space after the colon is not part of it);
// a null view if the line is of another field.
std::string_view field_value(std::string_view line, std::string_view name) noexcept {
    if (!line.starts_with(name)) return {};
    if (line.size() == name.size()) return line.substr(name.size());
    if (line[name.size()] != ':') return {};
    line.remove_prefix(name.size() + 1);
    if (line.starts_with(' ')) line.remove_prefix(1);
    return line;
}

const char* find_char(const char* from, const char* end, char c) noexcept {
    if (from == end) return end;
    const void* found = std::memchr(from, c, static_cast<std::size_t>(end - from));
    return found == nullptr ? end : static_cast<const char*>(found);
}

}  // namespace

const char* sse_splitter::line_finder::next(const char* from) noexcept {
    // The place of the next LF is kept while CRs before it are found, so that a piece full of CRs
    // is not searched for an LF again and again.
    if (fresh_ || lf_ < from) {
        fresh_ = false;
        lf_ = find_char(from, end_, '\n');
    }
    return find_char(from, lf_, '\r');
}

bool sse_splitter::take_line(const char* base, std::size_t content_end,
                             std::size_t line_end) noexcept {
    std::string_view line(base + at_.line, content_end - at_.line);
    if (first_event_ && at_.line == 0 && line.starts_with(byte_order_mark))
        line.remove_prefix(byte_order_mark.size());
    at_.line = line_end;
    if (line.empty() || (!at_.fields && line[0] == ':')) {
        kind_ = at_.fields ? sse_kind::event : (line.empty() ? sse_kind::blank : sse_kind::comment);
        first_event_ = false;
        return true;
    }
    at_.fields = true;
    if (const auto data = field_value(line, "data"); data.data() != nullptr) {
        if (at_.data_lines++ == 0) {
            at_.data_at = static_cast<std::size_t>(data.data() - base);
            at_.data_size = data.size();
        }
    } else if (const auto name = field_value(line, "event"); name.data() != nullptr) {
        at_.name_at = static_cast<std::size_t>(name.data() - base);
        at_.name_size = name.size();
    }
    return false;
}

sse_event sse_splitter::make_event(const char* base, std::size_t size) const noexcept {
    return {.kind = kind_,
            .raw = {base, size},
            .name = {base + at_.name_at, at_.name_size},
            .data = {base + at_.data_at, at_.data_size},
            .data_lines = at_.data_lines};
}

// One large event must not leave its memory with a stream that idles afterwards.
void sse_splitter::forget_tail() noexcept {
    if (tail_.capacity() > kept_capacity) {
        std::string().swap(tail_);
    } else {
        tail_.clear();
    }
}

void append_data(std::string& out, const sse_event& event) {
    if (event.data_lines <= 1) {
        out.append(event.data);
        return;
    }
    std::string_view rest = event.raw;
    if (rest.starts_with(byte_order_mark)) rest.remove_prefix(byte_order_mark.size());
    bool first = true;
    while (!rest.empty()) {
        const std::size_t eol = std::min(rest.find_first_of("\r\n"), rest.size());
        if (const auto data = field_value(rest.substr(0, eol), "data"); data.data() != nullptr) {
            if (!first) out.push_back('\n');
            first = false;
            out.append(data);
        }
        const bool crlf = rest.substr(eol).starts_with("\r\n");
        rest.remove_prefix(std::min(rest.size(), eol + (crlf ? 2 : 1)));
    }
}

}  // namespace kw::net
