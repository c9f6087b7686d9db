// Redis URLs: redis://[user[:password]@]host[:port][,host[:port]…][/db], rediss:// likewise,
// unix:///path[?db=n].
#include "store/redis/cluster.hpp"
#include "store/redis/connection.hpp"

namespace kw::store::redis {
namespace {

error bad_url(std::string_view why) {
    return error(errc::invalid_argument, "the Redis URL " + std::string(why), error_source::store);
}

bool is_number(std::string_view text) noexcept {
    return !text.empty() && text.size() < 6 &&
           text.find_first_not_of("0123456789") == std::string_view::npos;
}

int hex(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    c = static_cast<char>(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Percent-decoded; a lone percent sign stands for itself, as passwords are often pasted raw.
std::string decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size() && hex(text[i + 1]) >= 0 &&
            hex(text[i + 2]) >= 0) {
            out += static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
            i += 2;
        } else {
            out += text[i];
        }
    }
    return out;
}

// What lies before the mark; `text` keeps what lies behind, or is empty if there is no mark.
std::string_view cut_at(std::string_view& text, char mark) noexcept {
    const auto at = text.find(mark);
    const auto before = text.substr(0, at);
    text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
    return before;
}

}  // namespace

std::optional<place> parse_place(std::string_view text) {
    place at;
    if (text.starts_with('[')) {
        text.remove_prefix(1);
        at.host = std::string(cut_at(text, ']'));
        if (!text.empty() && text[0] != ':') return std::nullopt;
        cut_at(text, ':');
    } else {
        // A redirection tells of an IPv6 address without brackets: its port is behind the last one.
        const auto colon = text.rfind(':');
        at.host = std::string(text.substr(0, colon));
        text = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
    }
    if (!text.empty()) at.port = std::string(text);
    if (!is_number(at.port)) return std::nullopt;
    return at;
}

std::string target::name() const {
    if (!socket.empty()) return socket;
    if (mode == redis_mode::single) return at.name();
    std::string out =
        mode == redis_mode::sentinel ? "master " + master_name + " of " : "the Cluster of ";
    for (std::size_t i = 0; i < seeds.size(); ++i)
        out += (i == 0 ? "" : ",") + seeds[i].name();
    return out;
}

target target::server(const place& where) const {
    target to = *this;
    to.at = where;
    to.mode = redis_mode::single;
    to.cluster = nullptr;
    return to;
}

result<target> parse_target(const redis_options& options) {
    std::string_view rest = options.url.reveal();
    const auto scheme_end = rest.find("://");
    if (scheme_end == std::string_view::npos)
        return bad_url("must begin with redis://, rediss:// or unix://");
    const auto scheme = rest.substr(0, scheme_end);
    rest.remove_prefix(scheme_end + 3);
    target to;
    to.mode = options.mode;
    if (scheme == "unix") {
        to.socket = decoded(cut_at(rest, '?'));
        if (to.socket.empty() || to.socket[0] != '/') return bad_url("names no socket");
        if (to.mode != redis_mode::single) return bad_url("names a socket, which is one server");
        if (rest.starts_with("db=")) to.db = std::string(rest.substr(3));
    } else if (scheme == "redis" || scheme == "rediss") {
        to.tls = scheme == "rediss";
        // A raw password may hold '@', '/' and ':': the last '@' ends it.
        if (const auto at = rest.rfind('@'); at != std::string_view::npos) {
            auto login = rest.substr(0, at);
            rest.remove_prefix(at + 1);
            to.user = decoded(cut_at(login, ':'));
            to.password = secret(decoded(login));
        }
        auto places = cut_at(rest, '/');
        to.db = std::string(rest.substr(0, rest.find('?')));
        do {
            const auto one = parse_place(cut_at(places, ','));
            if (!one) return bad_url("has a port that is no number");
            if (one->host.empty()) return bad_url("names no host");
            to.seeds.push_back(*one);
        } while (!places.empty());
        if (to.seeds.size() > 1 && to.mode == redis_mode::single)
            return bad_url("names several servers: set store.redis_mode");
        to.at = to.seeds.front();
    } else {
        return bad_url("must begin with redis://, rediss:// or unix://");
    }
    if (!to.db.empty() && !is_number(to.db)) return bad_url("has a database that is no number");
    if (to.mode == redis_mode::cluster) {
        if (!to.db.empty() && to.db != "0")
            return bad_url("names a database: a Cluster has none but 0");
        to.cluster = std::make_shared<cluster_map>();
    }
    to.master_name = options.master_name;
    to.sentinel_user = options.sentinel_user;
    to.sentinel_password = options.sentinel_password;
    if (!options.user.empty()) to.user = options.user;
    if (!options.password.empty()) to.password = options.password;
    to.verify = options.verify;
    to.ca_file = options.ca_file;
    to.cert_file = options.cert_file;
    to.key_file = options.key_file;
    to.tls_name = options.tls_name;
    to.client_name = options.client_name;
    if (to.tls)
        if (auto usable = check_tls(to); !usable) return usable.error();
    return to;
}

}  // namespace kw::store::redis
