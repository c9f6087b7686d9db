// The model of a multipart/form-data body (RFC 7578), found without touching the file beside it.
#include <algorithm>

#include "usage/request_fields.hpp"

namespace kw::usage {
namespace {

constexpr std::size_t max_part_head = 8192;
constexpr std::size_t max_parts = 1000;
constexpr std::size_t max_model = 256;

char lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

bool same_word(std::string_view a, std::string_view b) noexcept {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trim(std::string_view s) noexcept {
    while (!s.empty() && (s.front() == ' ' || s.front() == '\t'))
        s.remove_prefix(1);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\t'))
        s.remove_suffix(1);
    return s;
}

// The parameter of a header value such as `form-data; name="model"`. Quoted text is unescaped.
std::optional<std::string> parameter(std::string_view value, std::string_view name) {
    std::size_t i = std::min(value.find(';'), value.size());
    while (i < value.size()) {
        ++i;  // the semicolon
        const std::size_t equals = value.find_first_of("=;", i);
        if (equals == std::string_view::npos) return std::nullopt;
        if (value[equals] == ';') {
            i = equals;
            continue;
        }
        const std::string_view key = trim(value.substr(i, equals - i));
        i = equals + 1;
        while (i < value.size() && (value[i] == ' ' || value[i] == '\t'))
            ++i;
        std::string text;
        if (i < value.size() && value[i] == '"') {
            for (++i; i < value.size() && value[i] != '"'; ++i) {
                if (value[i] == '\\' && i + 1 < value.size()) ++i;
                text.push_back(value[i]);
            }
            if (i == value.size()) return std::nullopt;
            i = std::min(value.find(';', i), value.size());
        } else {
            const std::size_t stop = std::min(value.find(';', i), value.size());
            text = trim(value.substr(i, stop - i));
            i = stop;
        }
        if (same_word(key, name)) return text;
    }
    return std::nullopt;
}

std::optional<std::string> part_name(std::string_view head) {
    while (!head.empty()) {
        const std::size_t eol = std::min(head.find("\r\n"), head.size());
        const std::string_view line = head.substr(0, eol);
        head.remove_prefix(std::min(eol + 2, head.size()));
        const std::size_t colon = line.find(':');
        if (colon != std::string_view::npos &&
            same_word(line.substr(0, colon), "content-disposition"))
            return parameter(line.substr(colon + 1), "name");
    }
    return std::nullopt;
}

error broken(std::string what) {
    return error(errc::malformed_request, std::move(what), error_source::downstream);
}

}  // namespace

result<multipart_fields> read_multipart_fields(std::string_view body,
                                               std::string_view content_type) {
    const std::optional<std::string> boundary = parameter(content_type, "boundary");
    if (!boundary || boundary->empty() || boundary->size() > 70)
        return broken("the multipart body has no usable boundary");
    const std::string mark = "\r\n--" + *boundary;

    // The first mark may stand at the very beginning, without a line before it.
    std::size_t at = 0;
    if (body.starts_with(std::string_view(mark).substr(2))) {
        at = mark.size() - 2;
    } else {
        at = body.find(mark);
        if (at == std::string_view::npos) return broken("the multipart body has no part");
        at += mark.size();
    }

    multipart_fields out;
    bool have_model = false;
    for (std::size_t parts = 0; parts < max_parts; ++parts) {
        if (body.substr(at).starts_with("--")) return out;
        while (at < body.size() && (body[at] == ' ' || body[at] == '\t'))
            ++at;
        if (!body.substr(at).starts_with("\r\n")) return broken("a multipart mark is broken");
        at += 2;
        // A part without any header has its blank line at once.
        std::size_t head_size = 0;
        if (!body.substr(at).starts_with("\r\n")) {
            head_size = body.substr(at, max_part_head).find("\r\n\r\n");
            if (head_size == std::string_view::npos)
                return broken("the head of a part does not end");
            head_size += 2;
        }
        const std::string_view head = body.substr(at, head_size);
        const std::size_t content = at + head_size + 2;
        // From two before, so that a mark right after the head is seen: the part is empty.
        const std::size_t stop = body.find(mark, content - 2);
        if (stop == std::string_view::npos) return broken("the multipart body does not end");
        const byte_range range{content, std::max(stop, content)};
        const std::string_view text = body.substr(range.begin, range.size());
        if (const auto name = part_name(head)) {
            if (*name == "model") {
                if (have_model) return broken("the multipart body names \"model\" twice");
                if (text.size() > max_model) return broken("the model's name is too long");
                have_model = true;
                out.model = text;
                out.model_value = range;
            } else if (*name == "stream") {
                out.stream = text == "true" || text == "1" || text == "True";
            } else if (*name == "response_format" && text.size() <= 32) {
                out.response_format = text;
            }
        }
        at = stop + mark.size();
    }
    return broken("the multipart body has too many parts");
}

std::optional<splice> plan_model(const multipart_fields& f, std::string_view name) {
    if (f.model.empty() || f.model == name) return std::nullopt;
    if (name.find_first_of("\r\n") != std::string_view::npos) return std::nullopt;
    return splice{f.model_value.begin, f.model_value.size(), std::string(name)};
}

}  // namespace kw::usage
