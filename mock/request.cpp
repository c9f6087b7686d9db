// Reading of requests: tolerant on purpose, since what the proxy sends is to be shown, not judged.
#include "mock/request.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <charconv>

namespace kw::mock {
namespace {

constexpr std::chrono::minutes idle_limit{30};

std::string_view trim(std::string_view s) noexcept {
    while (!s.empty() && (s.front() == ' ' || s.front() == '\t'))
        s.remove_prefix(1);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\t'))
        s.remove_suffix(1);
    return s;
}

char lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

bool contains_token(std::string_view value, std::string_view token) noexcept {
    while (!value.empty()) {
        const auto comma = value.find(',');
        if (same_name(trim(value.substr(0, comma)), token)) return true;
        if (comma == std::string_view::npos) break;
        value.remove_prefix(comma + 1);
    }
    return false;
}

void parse_fields(std::string_view lines, header_list& into) {
    while (!lines.empty()) {
        const auto end = lines.find("\r\n");
        const auto line = lines.substr(0, end);
        const auto colon = line.find(':');
        if (colon != std::string_view::npos) {
            into.emplace_back(line.substr(0, colon), trim(line.substr(colon + 1)));
        }
        if (end == std::string_view::npos) break;
        lines.remove_prefix(end + 2);
    }
}

bool parse_head(request& r) {
    std::string_view head = r.raw_head;
    const auto line_end = head.find("\r\n");
    const auto line = head.substr(0, line_end);
    const auto first = line.find(' ');
    const auto last = line.rfind(' ');
    if (first == std::string_view::npos || last == first) return false;
    r.method = line.substr(0, first);
    r.target = line.substr(first + 1, last - first - 1);
    r.version = line.substr(last + 1);
    if (!r.version.starts_with("HTTP/1.")) return false;
    parse_fields(head.substr(line_end + 2, head.size() - line_end - 4), r.headers);

    const auto question = r.target.find('?');
    r.path = r.target.substr(0, question);
    if (question != std::string::npos) r.query = r.target.substr(question + 1);
    // A base URL may carry a prefix before the version.
    if (const auto v1 = r.path.find("/v1"); v1 != std::string::npos && v1 != 0) r.path.erase(0, v1);

    const auto connection = r.header("connection");
    r.keep_alive = r.version == "HTTP/1.1" ? !contains_token(connection, "close")
                                           : contains_token(connection, "keep-alive");
    r.chunked = contains_token(r.header("transfer-encoding"), "chunked");
    if (const auto length = r.header("content-length"); !length.empty() && !r.chunked) {
        r.has_length = true;
        const auto end = std::from_chars(length.data(), length.data() + length.size(), r.length);
        if (end.ec != std::errc()) return false;
    }
    return true;
}

void take(request& r, std::string_view bytes) {
    r.body_bytes += bytes.size();
    if (r.form) r.form->feed(bytes);
    const std::size_t limit = r.is_json ? request::json_limit : request::keep_bytes;
    if (!r.hash && r.body_bytes > request::keep_bytes) {
        r.hash = std::make_unique<hasher>();
        r.hash->add(r.body);
    }
    if (r.hash) r.hash->add(bytes);
    if (r.body.size() < limit) r.body.append(bytes.substr(0, limit - r.body.size()));
}

net::task<read_outcome> read_line(wire& from, std::string& line) {
    while (true) {
        const auto in = from.input();
        if (const auto end = in.find("\r\n"); end != std::string_view::npos) {
            line = in.substr(0, end);
            from.consume(end + 2);
            co_return read_outcome::ok;
        }
        if (in.size() > request::keep_bytes) co_return read_outcome::bad;
        const bool more = co_await from.fill(idle_limit);
        if (!more) co_return read_outcome::closed;
    }
}

net::task<read_outcome> read_exactly(wire& from, request& r, std::uint64_t left,
                                     std::uint64_t stop_after) {
    while (left > 0) {
        if (from.input().empty()) {
            const bool more = co_await from.fill(idle_limit);
            if (!more) co_return read_outcome::closed;
        }
        const auto in = from.input().substr(
            0, static_cast<std::size_t>(std::min<std::uint64_t>(left, 1U << 20)));
        take(r, in);
        left -= in.size();
        from.consume(in.size());
        if (r.body_bytes >= stop_after) {
            co_await from.pause(std::chrono::hours(1));
            co_return read_outcome::closed;
        }
    }
    co_return read_outcome::ok;
}

net::task<read_outcome> read_chunks(wire& from, request& r, std::uint64_t stop_after) {
    std::string line;
    while (true) {
        auto got = co_await read_line(from, line);
        if (got != read_outcome::ok) co_return got;
        std::uint64_t size = 0;
        const auto parsed = std::from_chars(line.data(), line.data() + line.size(), size, 16);
        if (parsed.ec != std::errc()) co_return read_outcome::bad;
        if (size == 0) break;
        got = co_await read_exactly(from, r, size, stop_after);
        if (got != read_outcome::ok) co_return got;
        got = co_await read_line(from, line);
        if (got != read_outcome::ok) co_return got;
        if (!line.empty()) co_return read_outcome::bad;
    }
    while (true) {
        const auto got = co_await read_line(from, line);
        if (got != read_outcome::ok) co_return got;
        if (line.empty()) co_return read_outcome::ok;
        parse_fields(line, r.trailers);
    }
}

}  // namespace

bool same_name(std::string_view a, std::string_view b) noexcept {
    return std::ranges::equal(a, b, {}, lower, lower);
}

std::string_view find_header(const header_list& in, std::string_view name) noexcept {
    for (const auto& [n, v] : in) {
        if (n.size() == name.size() && same_name(n, name)) return v;
    }
    return {};
}

hasher::hasher() : context_(EVP_MD_CTX_new()) {
    EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_), EVP_sha256(), nullptr);
}
hasher::~hasher() {
    EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_));
}
void hasher::add(std::string_view bytes) {
    EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size());
}
std::string hasher::hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), digest.data(), &size);
    static constexpr char digits[] = "0123456789abcdef";
    std::string out;
    for (unsigned i = 0; i < size; ++i) {
        out += digits[digest[i] >> 4];
        out += digits[digest[i] & 15];
    }
    return out;
}
std::string sha256_hex(std::string_view bytes) {
    hasher h;
    h.add(bytes);
    return h.hex();
}

bool json_fields::scan(std::string_view b) {
    fields_.clear();
    std::size_t i = 0;
    const auto skip_space = [&] {
        while (i < b.size() && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t'))
            ++i;
    };
    const auto skip_string = [&] {
        for (++i; i < b.size(); ++i) {
            if (b[i] == '\\') {
                ++i;
            } else if (b[i] == '"') {
                ++i;
                return true;
            }
        }
        return false;
    };
    skip_space();
    if (i >= b.size() || b[i] != '{') return false;
    ++i;
    skip_space();
    if (i < b.size() && b[i] == '}') return true;
    while (i < b.size()) {
        skip_space();
        if (i >= b.size() || b[i] != '"') return false;
        const std::size_t name_at = i + 1;
        if (!skip_string()) return false;
        const auto name = b.substr(name_at, i - name_at - 1);
        skip_space();
        if (i >= b.size() || b[i] != ':') return false;
        ++i;
        skip_space();
        const std::size_t value_at = i;
        int depth = 0;
        for (; i < b.size(); ++i) {
            const char c = b[i];
            if (c == '"') {
                if (!skip_string()) return false;
                --i;
            } else if (c == '{' || c == '[') {
                ++depth;
            } else if (c == '}' || c == ']') {
                if (depth == 0) break;
                --depth;
            } else if (c == ',' && depth == 0) {
                break;
            }
        }
        if (i >= b.size() || i == value_at) return false;
        auto value = b.substr(value_at, i - value_at);
        while (!value.empty() && static_cast<unsigned char>(value.back()) <= ' ')
            value.remove_suffix(1);
        fields_.emplace_back(name, value);
        if (b[i] == '}') break;
        if (b[i] != ',') return false;
        ++i;
    }
    ++i;
    skip_space();
    return i >= b.size();
}

std::string_view json_fields::raw(std::string_view name) const noexcept {
    for (const auto& [n, v] : fields_) {
        if (n == name) return v;
    }
    return {};
}

std::string json_fields::text(std::string_view name) const {
    const auto value = raw(name);
    if (value.size() < 2 || value.front() != '"') return {};
    if (value.find('\\') == std::string_view::npos) {
        return std::string(value.substr(1, value.size() - 2));
    }
    boost::system::error_code ec;
    const auto parsed = boost::json::parse(value, ec);
    return ec || !parsed.is_string() ? std::string() : std::string(parsed.get_string());
}

std::int64_t json_fields::number(std::string_view name, std::int64_t otherwise) const noexcept {
    const auto value = raw(name);
    std::int64_t n = 0;
    const auto parsed = std::from_chars(value.data(), value.data() + value.size(), n);
    return parsed.ec == std::errc() ? n : otherwise;
}

std::string request::field(std::string_view name) const {
    if (form) {
        const form_part* part = form->find(name);
        return part ? part->content : std::string();
    }
    const auto value = json.raw(name);
    return value.starts_with('"') ? json.text(name) : std::string(value);
}

std::string request::query_value(std::string_view name) const {
    std::string_view rest = query;
    while (!rest.empty()) {
        const auto end = rest.find('&');
        const auto pair = rest.substr(0, end);
        const auto equals = pair.find('=');
        if (pair.substr(0, equals) == name) {
            return std::string(equals == std::string_view::npos ? "" : pair.substr(equals + 1));
        }
        if (end == std::string_view::npos) break;
        rest.remove_prefix(end + 1);
    }
    return {};
}

std::string request::sha256() const {
    return hash ? body_sha256 : sha256_hex(body);
}

std::string request::model() const {
    if (auto named = field("model"); !named.empty()) return named;
    const auto at = path.find("/models/");
    if (at == std::string::npos) return header("upgrade").empty() ? "" : query_value("model");
    const auto rest = std::string_view(path).substr(at + 8);
    std::string out;
    for (std::size_t i = 0; i < rest.size(); ++i) {
        unsigned code = 0;
        if (rest[i] == '%' && i + 2 < rest.size() &&
            std::from_chars(rest.data() + i + 1, rest.data() + i + 3, code, 16).ec == std::errc()) {
            out += static_cast<char>(code);
            i += 2;
        } else {
            out += rest[i];
        }
    }
    // Gemini's verb after the model; a fine-tuned OpenAI model has colons of its own.
    for (const std::string_view verb :
         {":generateContent", ":streamGenerateContent", ":countTokens", ":embedContent"}) {
        if (out.ends_with(verb)) out.erase(out.size() - verb.size());
    }
    return out;
}

std::string request::account() const {
    const auto bearer = header("authorization");
    if (bearer.size() > 7 && same_name(bearer.substr(0, 7), "bearer ")) {
        return std::string(trim(bearer.substr(7)));
    }
    for (const std::string_view name : {"x-api-key", "x-goog-api-key", "api-key"}) {
        if (const auto key = header(name); !key.empty()) return std::string(key);
    }
    return query_value("key");
}

net::task<read_outcome> read_head(wire& from, request& into) {
    std::size_t searched = 0;
    while (true) {
        const auto in = from.input();
        const auto end = in.find("\r\n\r\n", searched > 3 ? searched - 3 : 0);
        if (end != std::string_view::npos) {
            into.raw_head = in.substr(0, end + 4);
            from.consume(end + 4);
            const bool good = parse_head(into);
            co_return good ? read_outcome::ok : read_outcome::bad;
        }
        searched = in.size();
        if (searched > request::head_limit) co_return read_outcome::bad;
        const bool more = co_await from.fill(idle_limit);
        if (!more) co_return read_outcome::closed;
    }
}

net::task<read_outcome> read_body(wire& from, request& r, std::uint64_t stop_after) {
    const auto type = r.header("content-type");
    if (auto boundary = boundary_of(type); !boundary.empty()) {
        r.form = std::make_unique<multipart_reader>(std::move(boundary));
    }
    r.is_json = type.find("json") != std::string_view::npos;
    auto got = read_outcome::ok;
    if (r.chunked) {
        got = co_await read_chunks(from, r, stop_after);
    } else if (r.has_length) {
        got = co_await read_exactly(from, r, r.length, stop_after);
    }
    if (got != read_outcome::ok) co_return got;
    if (r.hash) r.body_sha256 = r.hash->hex();
    if (r.is_json && !r.body.empty()) r.valid_json = r.json.scan(r.body);
    co_return got;
}

}  // namespace kw::mock
