// The strict head parser. Structure: parse() cuts lines as they arrive; the first line and each
// header line are judged at once, so that nonsense is refused early; finish() judges the whole.
#include "net/http_head.hpp"

#include <bit>
#include <cstring>
#include <new>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace kw::net {

namespace {

// Bits of a byte's kind.
constexpr std::uint8_t token_char = 1;  // RFC 9110 §5.6.2
constexpr std::uint8_t path_char = 2;   // RFC 3986 pchar, "/" and "%"
constexpr std::uint8_t query_char = 4;  // visible ASCII but "#": users do send { } | unencoded
constexpr std::uint8_t host_char = 8;
constexpr std::uint8_t value_char = 16;  // all but control characters; tab is one, and allowed
constexpr std::uint8_t digit_char = 32;

constexpr bool one_of(char c, std::string_view set) {
    return set.find(c) != std::string_view::npos;
}

constexpr auto kinds = [] {
    std::array<std::uint8_t, 256> table{};
    for (unsigned i = 0; i < 256; ++i) {
        const char c = static_cast<char>(i);
        const bool digit = c >= '0' && c <= '9';
        const bool alnum = digit || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        unsigned k = 0;
        if (alnum || (i < 128 && i != 0 && one_of(c, "!#$%&'*+-.^_`|~"))) k |= token_char;
        if (alnum || (i < 128 && i != 0 && one_of(c, "-._~!$&'()*+,;=:@/%"))) k |= path_char;
        if (i > 0x20 && i < 0x7F && c != '#') k |= query_char;
        if (alnum || (i < 128 && i != 0 && one_of(c, "-._:[]"))) k |= host_char;
        if ((i >= 0x20 && i != 0x7F) || c == '\t') k |= value_char;
        if (digit) k |= digit_char;
        table[i] = static_cast<std::uint8_t>(k);
    }
    return table;
}();

constexpr bool is(char c, std::uint8_t kind) {
    return (kinds[static_cast<unsigned char>(c)] & kind) != 0;
}

bool all(std::string_view text, std::uint8_t kind) noexcept {
    for (const char c : text) {
        if (!is(c, kind)) return false;
    }
    return true;
}

#if defined(__SSE2__)
__m128i load16(const char* p) noexcept {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

// For each byte all ones when it lies between the two; both below 0x80.
__m128i between(__m128i v, char low, char high) noexcept {
    return _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8(static_cast<char>(low - 1))),
                         _mm_cmplt_epi8(v, _mm_set1_epi8(static_cast<char>(high + 1))));
}

// Some of 16 bytes is a control character, perhaps a tab.
bool has_control(const char* p) noexcept {
    const __m128i v = load16(p);
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1F)), v);
    const __m128i del = _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7F));
    return _mm_movemask_epi8(_mm_or_si128(low, del)) != 0;
}
#endif

// all(text, value_char), 16 bytes at a time: header values are most of a head.
bool is_field_value(std::string_view text) noexcept {
#if defined(__SSE2__)
    while (text.size() >= 16) {
        if (has_control(text.data()) && !all(text.substr(0, 16), value_char)) return false;
        text.remove_prefix(16);
    }
#endif
    constexpr std::uint64_t ones = 0x0101010101010101;
    constexpr std::uint64_t highs = 0x8080808080808080;
    while (text.size() >= 8) {
        std::uint64_t w;
        std::memcpy(&w, text.data(), 8);
        const std::uint64_t del = w ^ (ones * 0x7F);
        // A set high bit for a byte below 0x20 or equal to 0x7F; may be set wrongly above the first
        // such byte, which does not matter: the slow test decides.
        const std::uint64_t odd = ((w - ones * 0x20) & ~w & highs) | ((del - ones) & ~del & highs);
        if (odd != 0 && !all(text.substr(0, 8), value_char)) return false;
        text.remove_prefix(8);
    }
    return all(text, value_char);
}

// How many bytes of a header line are letters, digits or hyphens, as nearly all names are: 16 at a
// time, so that fewer may be told near the line's end.
std::size_t plain_name_bytes(std::string_view line) noexcept {
    std::size_t n = 0;
#if defined(__SSE2__)
    for (; line.size() - n >= 16; n += 16) {
        const __m128i v = load16(line.data() + n);
        const __m128i plain =
            _mm_or_si128(_mm_or_si128(between(_mm_or_si128(v, _mm_set1_epi8(0x20)), 'a', 'z'),
                                      between(v, '0', '9')),
                         _mm_cmpeq_epi8(v, _mm_set1_epi8('-')));
        const auto other = ~static_cast<unsigned>(_mm_movemask_epi8(plain)) & 0xFFFFU;
        if (other != 0) return n + static_cast<std::size_t>(std::countr_zero(other));
    }
#endif
    return n;
}

std::string_view trim(std::string_view text) noexcept {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
        text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
        text.remove_suffix(1);
    return text;
}

int hex_value(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Headers of which a second one would let two readers pick differently.
bool is_singleton(header_id id, bool request) noexcept {
    switch (id) {
        case header_id::host:
        case header_id::content_length:
        case header_id::transfer_encoding:
        case header_id::content_type:
            return true;
        case header_id::expect:
        case header_id::authorization:
        case header_id::api_key:
        case header_id::x_api_key:
        case header_id::x_goog_api_key:
        case header_id::x_admin_key:
        case header_id::idempotency_key:
            return request;
        default:
            return false;
    }
}

// "Content_Length": some servers behind us take an underscore for a hyphen.
bool imitates_framing(std::string_view name) noexcept {
    std::array<char, std::string_view("transfer-encoding").size()> plain;
    if (name.size() > plain.size() || name.find('_') == std::string_view::npos) return false;
    for (std::size_t i = 0; i < name.size(); ++i)
        plain[i] = name[i] == '_' ? '-' : name[i];
    const header_id id = find_header_id({plain.data(), name.size()});
    return id == header_id::content_length || id == header_id::transfer_encoding;
}

// Dot segments in every spelling that some server is known to resolve: percent-encoded dots and
// slashes, path parameters ("..;"). Returns why the path is refused, nullptr if it is good.
const char* path_problem(std::string_view path) noexcept {
    constexpr std::size_t no_dots = 99;
    std::size_t dots = 0;  // of a segment that has been dots only so far
    const auto end_segment = [&] { return dots == 1 || dots == 2; };
    for (std::size_t i = 1; i <= path.size(); ++i) {
        char c = '/';
        if (i < path.size()) {
            c = path[i];
            if (!is(c, path_char)) return "The path has a character that must be percent-encoded.";
            if (c == '%') {
                const int high = i + 1 < path.size() ? hex_value(path[i + 1]) : -1;
                const int low = i + 2 < path.size() ? hex_value(path[i + 2]) : -1;
                if (high < 0 || low < 0) return "The path has a broken percent-encoding.";
                c = static_cast<char>(high * 16 + low);
                i += 2;
                if (!is(c, value_char) || c == '\t' || c == '\\')
                    return "The path has an encoded control character or backslash.";
                // Never in UTF-8, but an overlong "." or "/" to a lenient decoder.
                if (c == '\xC0' || c == '\xC1') return "The path is not UTF-8.";
                // Would become another encoding for a server that decodes twice.
                if (c == '%' && i + 2 < path.size() && hex_value(path[i + 1]) >= 0 &&
                    hex_value(path[i + 2]) >= 0)
                    return "The path is percent-encoded twice.";
            }
        }
        if (c == '/' || c == ';') {
            if (end_segment()) return "The path has a dot segment.";
            dots = c == '/' ? 0 : no_dots;
        } else {
            dots = c == '.' && dots < no_dots - 1 ? dots + 1 : no_dots;
        }
    }
    return nullptr;
}

method_id method_of(std::string_view name) noexcept {
    switch (name.size()) {
        case 3:
            return name == "GET" ? method_id::get
                                 : (name == "PUT" ? method_id::put : method_id::other);
        case 4:
            return name == "POST" ? method_id::post
                                  : (name == "HEAD" ? method_id::head : method_id::other);
        case 5:
            return name == "PATCH" ? method_id::patch : method_id::other;
        case 6:
            return name == "DELETE" ? method_id::del : method_id::other;
        case 7:
            return name == "OPTIONS" ? method_id::options : method_id::other;
        default:
            return method_id::other;
    }
}

bool is_host(std::string_view host) noexcept {
    if (host.empty() || !all(host, host_char)) return false;
    std::string_view port;
    if (host.front() == '[') {
        const std::size_t close = host.find(']');
        if (close == std::string_view::npos || close < 3) return false;
        for (const char c : host.substr(1, close - 1)) {
            if (hex_value(c) < 0 && c != ':' && c != '.') return false;
        }
        if (close + 1 == host.size()) return true;
        if (host[close + 1] != ':') return false;
        port = host.substr(close + 2);
    } else {
        if (host.find_first_of("[]") != std::string_view::npos) return false;
        const std::size_t colon = host.find(':');
        if (colon == 0) return false;
        if (colon == std::string_view::npos) return true;
        port = host.substr(colon + 1);
    }
    return !port.empty() && port.size() <= 5 && all(port, digit_char);
}

}  // namespace

http_head::http_head(const head_limits& limits) noexcept : limits_(limits) {
    if (limits_.max_headers > capacity) limits_.max_headers = capacity;
    reset();
}

void http_head::reset() noexcept {
    base_ = nullptr;
    line_ = scanned_ = 0;
    fault_ = {};
    content_length_ = 0;
    method_ = target_ = path_ = query_ = {};
    status_ = 0;
    count_ = 0;
    minor_ = 1;
    method_id_ = method_id::other;
    framing_ = framing::none;
    request_ = true;
    head_request_ = started_ = done_ = has_length_ = keep_alive_ = upgrade_ = false;
    expect_continue_ = connection_close_ = connection_keep_ = false;
    first_.fill(absent);
    more_.reset();
}

parse_status http_head::parse_request(std::string_view buffer) noexcept {
    request_ = true;
    return parse(buffer);
}

parse_status http_head::parse_response(std::string_view buffer, bool head_request) noexcept {
    request_ = false;
    head_request_ = head_request;
    return parse(buffer);
}

parse_status http_head::parse(std::string_view buffer) noexcept {
    if (fault_.code != errc::ok) return parse_status::bad;
    base_ = buffer.data();
    if (done_) return parse_status::done;
    while (true) {
        const void* found = scanned_ < buffer.size() ? std::memchr(buffer.data() + scanned_, '\n',
                                                                   buffer.size() - scanned_)
                                                     : nullptr;
        if (found == nullptr) return wait_for_more(buffer);
        const auto lf = static_cast<std::size_t>(static_cast<const char*>(found) - buffer.data());
        if (lf >= limits_.max_head) return wait_for_more(buffer.substr(0, limits_.max_head + 1));
        if (lf == line_ || buffer[lf - 1] != '\r') {
            bad(400, "A line of the head does not end in CR LF.");
            return parse_status::bad;
        }
        const std::string_view line = buffer.substr(line_, lf - 1 - line_);
        line_ = scanned_ = lf + 1;
        bool good;
        if (!started_) {
            started_ = true;
            good = request_ ? request_line(line) : status_line(line);
        } else if (!line.empty()) {
            good = header_line(line);
        } else {
            good = finish();
            done_ = good;
            if (good) return parse_status::done;
        }
        if (!good) return parse_status::bad;
    }
}

// What can be refused before a line is whole.
parse_status http_head::wait_for_more(std::string_view buffer) noexcept {
    scanned_ = buffer.size();
    if (!started_ && !buffer.empty()) {
        // TLS or another protocol on this port, or an empty line.
        if (!is(buffer[0], token_char)) {
            bad(400, "This is not an HTTP message.");
        } else if (request_ && buffer.size() > limits_.max_target + 64) {
            bad(414, "The request line is too long.", errc::header_too_large);
        }
    }
    if (fault_.code == errc::ok && buffer.size() > limits_.max_head)
        bad(431, "The head is too large.", errc::header_too_large);
    return fault_.code == errc::ok ? parse_status::need_more : parse_status::bad;
}

bool http_head::bad(std::uint16_t status, std::string_view message, errc code) noexcept {
    if (request_) {
        fault_ = {code, status, message};
    } else {
        fault_ = {errc::upstream_malformed, 502, message};
    }
    return false;
}

http_head::slice http_head::slice_of(std::string_view part) const noexcept {
    return {static_cast<std::uint32_t>(part.data() - base_),
            static_cast<std::uint32_t>(part.size())};
}

bool http_head::request_line(std::string_view line) noexcept {
    const std::size_t first = line.find(' ');
    const std::size_t last = line.rfind(' ');
    const std::string_view method = line.substr(0, std::min(first, line.size()));
    if (method.empty() || !all(method, token_char)) return bad(400, "The method is malformed.");
    if (first == std::string_view::npos || first == last)
        return bad(400, "The request line is not method, target and version.");
    const std::string_view target = line.substr(first + 1, last - first - 1);
    const std::string_view version = line.substr(last + 1);
    if (version.size() != 8 || !version.starts_with("HTTP/") || !is(version[5], digit_char) ||
        version[6] != '.' || !is(version[7], digit_char))
        return bad(400, "The HTTP version is malformed.");
    if (version[5] != '1' || version[7] > '1')
        return bad(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    minor_ = static_cast<std::uint8_t>(version[7] - '0');
    if (method.size() > 24 || method == "CONNECT" || method == "TRACE")
        return bad(501, "This method is not supported.");
    if (target.size() > limits_.max_target)
        return bad(414, "The target is too long.", errc::header_too_large);
    method_ = slice_of(method);
    method_id_ = method_of(method);
    return split_target(target);
}

bool http_head::split_target(std::string_view target) noexcept {
    target_ = slice_of(target);
    if (target == "*" && method_id_ == method_id::options) {
        path_ = target_;
        return true;
    }
    if (target.empty() || target[0] != '/' || target.starts_with("//"))
        return bad(400, "The target must be a path that begins with one slash.");
    const std::size_t mark = target.find('?');
    const std::string_view path = target.substr(0, mark);
    if (const char* why = path_problem(path)) return bad(400, why);
    path_ = slice_of(path);
    if (mark != std::string_view::npos) {
        const std::string_view query = target.substr(mark + 1);
        if (!all(query, query_char))
            return bad(400, "The query has a character that must be percent-encoded.");
        query_ = slice_of(query);
    }
    return true;
}

bool http_head::status_line(std::string_view line) noexcept {
    if (line.size() < 12 || !line.starts_with("HTTP/1.") || (line[7] != '0' && line[7] != '1') ||
        line[8] != ' ' || !all(line.substr(9, 3), digit_char) ||
        (line.size() > 12 && line[12] != ' ') || !is_field_value(line))
        return bad(502, "The status line is malformed.");
    minor_ = static_cast<std::uint8_t>(line[7] - '0');
    status_ = static_cast<std::uint16_t>((line[9] - '0') * 100 + (line[10] - '0') * 10 +
                                         (line[11] - '0'));
    if (status_ < 100 || status_ > 599) return bad(502, "The status is out of range.");
    target_ = slice_of(line.substr(std::min<std::size_t>(13, line.size())));
    return true;
}

bool http_head::header_line(std::string_view line) noexcept {
    if (count_ == limits_.max_headers)
        return bad(431, "There are too many headers.", errc::header_too_large);
    if (line[0] == ' ' || line[0] == '\t') return bad(400, "A header line is folded.");
    std::size_t colon = plain_name_bytes(line);
    bool underscore = false;
    while (colon < line.size() && is(line[colon], token_char)) {
        underscore |= line[colon] == '_';
        ++colon;
    }
    if (colon == 0 || colon >= line.size() || line[colon] != ':' || colon > 256)
        return bad(400, "A header's name is malformed.");
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = trim(line.substr(colon + 1));
    if (!is_field_value(value)) return bad(400, "A header has a control character.");
    if (underscore && imitates_framing(name))
        return bad(400, "A header imitates the framing of the body.");

    const header_id id = find_header_id(name);
    std::uint8_t& first = first_[static_cast<std::size_t>(id)];
    if (first == absent || id == header_id::other) {
        first = id == header_id::other ? absent : count_;
    } else if (is_singleton(id, request_)) {
        return bad(400, "A header that may stand only once is there twice.");
    }
    if (count_ == at_hand && !more_) {
        more_.reset(new (std::nothrow) field[capacity - at_hand]);
        if (!more_) return bad(431, "There is no memory for so many headers.");
    }
    field_at(count_++) = {.name_at = slice_of(name).at,
                          .value_at = slice_of(value).at,
                          .value_size = static_cast<std::uint32_t>(value.size()),
                          .name_size = static_cast<std::uint16_t>(name.size()),
                          .id = id,
                          .hop = is_hop_by_hop(id)};
    return true;
}

bool http_head::finish() noexcept {
    if (!read_content_length() || !read_connection()) return false;
    if (has(header_id::transfer_encoding)) {
        if (has_length_) return bad(400, "There are both Content-Length and Transfer-Encoding.");
        if (minor_ == 0) return bad(400, "Transfer-Encoding is not part of HTTP/1.0.");
        if (!equal_ignoring_case(find(header_id::transfer_encoding), "chunked"))
            return bad(request_ ? 501 : 502, "The only transfer coding known here is chunked.");
        framing_ = framing::chunked;
    } else if (has_length_) {
        framing_ = framing::length;
    }
    keep_alive_ = !connection_close_ && (minor_ == 1 || connection_keep_);
    return request_ ? finish_request() : finish_response();
}

bool http_head::read_content_length() noexcept {
    if (!has(header_id::content_length)) return true;
    const std::string_view digits = find(header_id::content_length);
    // A leading zero is octal to some; 18 digits fit in 63 bits.
    if (digits.empty() || !all(digits, digit_char) || (digits.size() > 1 && digits[0] == '0'))
        return bad(400, "Content-Length is malformed.");
    if (digits.size() > 18) return bad(413, "The body is too large.", errc::body_too_large);
    for (const char c : digits)
        content_length_ = content_length_ * 10 + static_cast<std::uint64_t>(c - '0');
    has_length_ = true;
    return true;
}

bool http_head::read_connection() noexcept {
    if (!has(header_id::connection)) return true;
    bool upgrade = false;
    for (std::size_t i = 0; i < count_; ++i) {
        if (field_at(i).id != header_id::connection) continue;
        std::string_view rest = at(i).value;
        while (!rest.empty()) {
            const std::size_t comma = rest.find(',');
            const std::string_view option = trim(rest.substr(0, comma));
            rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
            if (option.empty()) continue;
            if (equal_ignoring_case(option, "close")) {
                connection_close_ = true;
            } else if (equal_ignoring_case(option, "keep-alive")) {
                connection_keep_ = true;
            } else if (equal_ignoring_case(option, "upgrade")) {
                upgrade = true;
            } else {
                // Would make us drop what the next server needs, or what names the caller.
                const header_id id = find_header_id(option);
                if (request_ && id != header_id::other && !is_hop_by_hop(id))
                    return bad(400, "Connection names a header that is not hop-by-hop.");
                if (id == header_id::content_length || id == header_id::content_type) continue;
                for (std::size_t k = 0; k < count_; ++k) {
                    if (equal_ignoring_case(at(k).name, option)) field_at(k).hop = true;
                }
            }
        }
    }
    upgrade_ = upgrade && has(header_id::upgrade);
    return true;
}

bool http_head::finish_request() noexcept {
    if (has(header_id::host) ? !is_host(host()) : minor_ == 1)
        return bad(400, has(header_id::host) ? "Host is malformed." : "Host is missing.");
    if (has(header_id::trailer) && framing_ != framing::chunked)
        return bad(400, "Trailer is announced for a body that cannot have one.");
    if (has(header_id::expect)) {
        if (!equal_ignoring_case(find(header_id::expect), "100-continue"))
            return bad(417, "The only expectation known here is 100-continue.",
                       errc::unsupported_expectation);
        expect_continue_ = minor_ == 1 && framing_ != framing::none &&
                           !(framing_ == framing::length && content_length_ == 0);
    }
    return true;
}

bool http_head::finish_response() noexcept {
    if (head_request_ || status_ < 200 || status_ == 204 || status_ == 304) {
        // A body announced where none can be: the server may send one all the same, so nothing
        // after this head can be trusted.
        if ((status_ < 200 || status_ == 204) &&
            (framing_ == framing::chunked || content_length_ > 0))
            keep_alive_ = false;
        framing_ = framing::none;
    } else if (framing_ == framing::none) {
        framing_ = framing::until_close;
        keep_alive_ = false;
    }
    if (status_ == 101) keep_alive_ = false;
    return true;
}

std::string_view http_head::host_name() const noexcept {
    const std::string_view all_of_it = host();
    const std::size_t from = all_of_it.starts_with('[') ? all_of_it.find(']') : 0;
    return all_of_it.substr(0, all_of_it.find(':', from));
}

bool http_head::is_event_stream() const noexcept {
    const std::string_view type = content_type();
    return equal_ignoring_case(trim(type.substr(0, type.find(';'))), "text/event-stream");
}

http_head::header http_head::at(std::size_t i) const noexcept {
    const field& f = field_at(i);
    return {{base_ + f.name_at, f.name_size}, {base_ + f.value_at, f.value_size}, f.id, f.hop};
}

std::string_view http_head::find(header_id id) const noexcept {
    const std::uint8_t i = first_of(id);
    return i == absent ? std::string_view() : at(i).value;
}

std::string_view http_head::find(std::string_view name) const noexcept {
    for (const header h : *this) {
        if (equal_ignoring_case(h.name, name)) return h.value;
    }
    return {};
}

}  // namespace kw::net
