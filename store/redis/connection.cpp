// The transport and the protocol of one connection.
#include "store/redis/connection.hpp"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "store/file.hpp"

namespace kw::store::redis {
namespace {

constexpr std::size_t max_reply_items = 4'000'000;

template <auto Free>
struct freed_by {
    template <class T>
    void operator()(T* p) const noexcept {
        Free(p);
    }
};
using reader_ptr = std::unique_ptr<redisReader, freed_by<redisReaderFree>>;
using ssl_ptr = std::unique_ptr<SSL, freed_by<SSL_free>>;
using ssl_ctx_ptr = std::unique_ptr<SSL_CTX, freed_by<SSL_CTX_free>>;

error away(std::string why) {
    return error(errc::store_unavailable, std::move(why), error_source::store);
}

// Milliseconds left, for poll: at least 1 before the deadline, 0 after it.
int left_until(deadline until) noexcept {
    const auto left = until - std::chrono::steady_clock::now();
    if (left <= left.zero()) return 0;
    return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(left).count());
}

struct address {
    sockaddr_storage bytes{};
    socklen_t size = 0;
};

// getaddrinfo knows no deadline, so a name is looked up on a thread that may be left behind.
struct lookup {
    std::mutex mutex;
    std::condition_variable done;
    bool finished = false;
    int code = EAI_AGAIN;
    std::vector<address> found;
};

std::vector<address> resolve_now(const std::string& host, const std::string& port, int flags,
                                 int& code) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags;
    addrinfo* list = nullptr;
    code = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &list);
    std::vector<address> out;
    for (const auto* a = list; code == 0 && a != nullptr; a = a->ai_next) {
        auto& entry = out.emplace_back();
        std::memcpy(&entry.bytes, a->ai_addr, a->ai_addrlen);
        entry.size = a->ai_addrlen;
    }
    if (list != nullptr) ::freeaddrinfo(list);
    return out;
}

result<std::vector<address>> resolve(const target& to, deadline until) {
    int code = 0;
    const auto& host = to.at.host;
    auto numeric = resolve_now(host, to.at.port, AI_NUMERICHOST | AI_NUMERICSERV, code);
    if (code == 0) return numeric;
    const auto shared = std::make_shared<lookup>();
    std::thread([shared, at = to.at] {
        int outcome = 0;
        auto found = resolve_now(at.host, at.port, AI_NUMERICSERV | AI_ADDRCONFIG, outcome);
        const std::lock_guard lock(shared->mutex);
        shared->found = std::move(found);
        shared->code = outcome;
        shared->finished = true;
        shared->done.notify_all();
    }).detach();
    std::unique_lock lock(shared->mutex);
    if (!shared->done.wait_until(lock, until, [&] { return shared->finished; }))
        return away("looking up " + host + " took too long");
    if (shared->code != 0)
        return away("cannot look up " + host + ": " + ::gai_strerror(shared->code));
    return std::move(shared->found);
}

// errc::invalid_argument: a file cannot be used.
result<ssl_ctx_ptr> make_context(const target& to) {
    const auto bad = [](std::string_view what, const std::string& file, std::string_view setting) {
        ERR_clear_error();
        return error(errc::invalid_argument,
                     std::string(what) + file + " cannot be used: see " + std::string(setting),
                     error_source::store);
    };
    ssl_ctx_ptr made(SSL_CTX_new(TLS_client_method()));
    if (!made) return away("no TLS context");
    auto* const context = made.get();
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (to.ca_file.empty())
        SSL_CTX_set_default_verify_paths(context);
    else if (SSL_CTX_load_verify_locations(context, to.ca_file.c_str(), nullptr) != 1)
        return bad("the file of authorities ", to.ca_file, "store.redis_ca");
    SSL_CTX_set_verify(context, to.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
    if (to.cert_file.empty()) return made;
    if (SSL_CTX_use_certificate_chain_file(context, to.cert_file.c_str()) != 1)
        return bad("the certificate ", to.cert_file, "store.redis_cert");
    if (SSL_CTX_use_PrivateKey_file(context, to.key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1)
        return bad("the private key ", to.key_file, "store.redis_key");
    return made;
}

reply converted(const redisReply& from) {
    reply to;
    switch (from.type) {
        case REDIS_REPLY_INTEGER:
            to.is = reply::kind::integer;
            to.number = from.integer;
            break;
        case REDIS_REPLY_ARRAY:
            to.is = reply::kind::array;
            to.items.reserve(from.elements);
            for (std::size_t i = 0; i < from.elements; ++i)
                to.items.push_back(converted(*from.element[i]));
            break;
        case REDIS_REPLY_STRING:
        case REDIS_REPLY_STATUS:
        case REDIS_REPLY_ERROR:
            to.is = from.type == REDIS_REPLY_STRING  ? reply::kind::text
                    : from.type == REDIS_REPLY_ERROR ? reply::kind::error
                                                     : reply::kind::status;
            to.text.assign(from.str, static_cast<std::size_t>(from.len));
            break;
        default:
            break;
    }
    return to;
}

}  // namespace

result<void> check_tls(const target& to) {
    const auto made = make_context(to);
    return made ? result<void>() : result<void>(made.error());
}

std::int64_t reply::as_number() const noexcept {
    if (is == kind::integer) return number;
    std::int64_t n = 0;
    std::from_chars(text.data(), text.data() + text.size(), n);
    return n;
}

// A kind and a count, as every word and every command begins.
void pipeline::head(char kind, std::size_t n) {
    std::array<char, 24> text;
    text[0] = kind;
    char* end = text.data() + 1;
    if (n < 10)
        *end++ = static_cast<char>('0' + n);
    else
        end = std::to_chars(end, text.data() + text.size() - 2, n).ptr;
    *end++ = '\r';
    *end++ = '\n';
    bytes_.append(text.data(), static_cast<std::size_t>(end - text.data()));
}

void pipeline::begin(std::size_t words) {
    head('*', words);
    ++count_;
}

void pipeline::word(std::string_view text) {
    head('$', text.size());
    bytes_.append(text).append("\r\n", 2);
}

void pipeline::word(std::initializer_list<std::string_view> parts) {
    std::size_t size = 0;
    for (const auto part : parts)
        size += part.size();
    head('$', size);
    for (const auto part : parts)
        bytes_.append(part);
    bytes_.append("\r\n", 2);
}

// A number is a word of up to 20 digits: written with its head and end in one piece.
void pipeline::number(std::int64_t n) {
    if (n >= 0 && n < 10) {
        const std::array<char, 7> one{'$', '1', '\r', '\n', static_cast<char>('0' + n), '\r', '\n'};
        bytes_.append(one.data(), one.size());
        return;
    }
    std::array<char, 32> text;
    constexpr std::size_t room = 5;  // "$20\r\n"
    char* const digits = text.data() + room;
    char* end = std::to_chars(digits, text.data() + text.size() - 2, n).ptr;
    const auto size = static_cast<std::size_t>(end - digits);
    *end++ = '\r';
    *end++ = '\n';
    char* begin = digits;
    *--begin = '\n';
    *--begin = '\r';
    *--begin = static_cast<char>('0' + size % 10);
    if (size >= 10) *--begin = static_cast<char>('0' + size / 10);
    *--begin = '$';
    bytes_.append(begin, static_cast<std::size_t>(end - begin));
}

void pipeline::add(std::span<const std::string_view> words) {
    begin(words.size());
    for (const auto text : words)
        word(text);
}

namespace {

// The replies of one piece that `bytes` begins with, whole; how many bytes they are. What is odd
// about them the parser will say.
std::size_t take_simple(std::string_view bytes, std::vector<reply>& to) {
    std::size_t used = 0;
    for (;;) {
        const auto left = bytes.substr(used);
        const auto end = left.find("\r\n");
        if (end == std::string_view::npos || end == 0) return used;
        const auto line = left.substr(1, end - 1);
        std::int64_t number = 0;
        const auto read = std::from_chars(line.data(), line.data() + line.size(), number);
        const bool is_number = read.ec == std::errc() && read.ptr == line.data() + line.size();
        auto size = end + 2;
        reply one;
        if (left[0] == '$' && is_number && number >= 0) {
            const auto length = static_cast<std::size_t>(number);
            if (length > left.size() || left.size() - size < length + 2) return used;
            one.is = reply::kind::text;
            one.text = left.substr(size, length);
            size += length + 2;
        } else if (left[0] == ':' && is_number) {
            one.is = reply::kind::integer;
            one.number = number;
        } else {
            return used;
        }
        to.push_back(std::move(one));
        used += size;
    }
}

}  // namespace

struct connection::impl {
    file socket;
    ssl_ctx_ptr context;
    ssl_ptr tls;
    reader_ptr reader;

    result<void> wait(short events, deadline until) {
        pollfd p{socket.get(), events, 0};
        for (;;) {
            const int n = ::poll(&p, 1, left_until(until));
            if (n > 0) return {};
            if (n == 0) return away("no answer in time");
            if (errno != EINTR) return away("poll: " + errno_text(errno));
        }
    }

    result<void> connect_to(const sockaddr* to, socklen_t size, int family, deadline until) {
        socket = file(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        if (!socket) return away("socket: " + errno_text(errno));
        if (::connect(socket.get(), to, size) != 0) {
            if (errno != EINPROGRESS) return away(errno_text(errno));
            if (auto ready = wait(POLLOUT, until); !ready) return ready;
            int code = 0;
            socklen_t length = sizeof code;
            ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &code, &length);
            if (code != 0) return away(errno_text(code));
        }
        const int on = 1;
        if (family != AF_UNIX) ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        return {};
    }

    result<void> dial(const target& to, deadline until) {
        if (!to.socket.empty()) {
            sockaddr_un a{};
            a.sun_family = AF_UNIX;
            if (to.socket.size() >= sizeof a.sun_path) return away("the socket's path is too long");
            std::memcpy(a.sun_path, to.socket.data(), to.socket.size());
            return connect_to(reinterpret_cast<const sockaddr*>(&a), sizeof a, AF_UNIX, until);
        }
        auto addresses = resolve(to, until);
        if (!addresses) return addresses.error();
        result<void> last = away("no address");
        for (std::size_t i = 0; i < addresses->size(); ++i) {
            // Each gets its share of the time that is left.
            const auto now = std::chrono::steady_clock::now();
            const auto share = (until - now) / static_cast<int>(addresses->size() - i);
            const auto& a = (*addresses)[i];
            last = connect_to(reinterpret_cast<const sockaddr*>(&a.bytes), a.size,
                              a.bytes.ss_family, now + share);
            if (last) return last;
        }
        return last;
    }

    result<void> handshake(const target& to, deadline until) {
        auto made = make_context(to);
        if (!made) return made.error();
        context = std::move(*made);
        tls.reset(SSL_new(context.get()));
        if (!tls) return away("no TLS session");
        const auto& name = to.tls_name.empty() ? to.at.host : to.tls_name;
        auto* const parameters = SSL_get0_param(tls.get());
        if (X509_VERIFY_PARAM_set1_ip_asc(parameters, name.c_str()) != 1) {
            ERR_clear_error();
            X509_VERIFY_PARAM_set1_host(parameters, name.c_str(), name.size());
            SSL_set_tlsext_host_name(tls.get(), name.c_str());
        }
        SSL_set_fd(tls.get(), socket.get());
        for (;;) {
            ERR_clear_error();
            const int n = SSL_connect(tls.get());
            if (n == 1) return {};
            const auto more = tls_wait(n, until);
            if (more) continue;
            const auto verdict = SSL_get_verify_result(tls.get());
            if (verdict == X509_V_OK) return away("TLS: " + more.error().context);
            return away(std::string("its certificate is refused: ") +
                        X509_verify_cert_error_string(verdict) +
                        (verdict == X509_V_ERR_HOSTNAME_MISMATCH ||
                                 verdict == X509_V_ERR_IP_ADDRESS_MISMATCH
                             ? " (" + name + "): set store.redis_tls_name to the name it bears"
                             : ": set store.redis_ca to the file of the authority that signed it" +
                                   (to.ca_file.empty() ? "" : ", not " + to.ca_file)));
        }
    }

    result<void> tls_wait(int outcome, deadline until) {
        switch (SSL_get_error(tls.get(), outcome)) {
            case SSL_ERROR_WANT_READ:
                return wait(POLLIN, until);
            case SSL_ERROR_WANT_WRITE:
                return wait(POLLOUT, until);
            default:
                return away("the connection broke");
        }
    }

    result<void> write(std::string_view bytes, deadline until) {
        while (!bytes.empty()) {
            ssize_t n = 0;
            if (tls) {
                ERR_clear_error();
                std::size_t written = 0;
                const int ok = SSL_write_ex(tls.get(), bytes.data(), bytes.size(), &written);
                if (ok != 1) {
                    if (auto more = tls_wait(ok, until); !more) return more;
                    continue;
                }
                n = static_cast<ssize_t>(written);
            } else {
                n = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
                if (n < 0 && errno == EINTR) continue;
                if (n < 0 && errno == EAGAIN) {
                    if (auto ready = wait(POLLOUT, until); !ready) return ready;
                    continue;
                }
                if (n < 0) return away(errno_text(errno));
            }
            bytes.remove_prefix(static_cast<std::size_t>(n));
        }
        return {};
    }

    // Reads what is there into the parser; waits for it if `until` allows.
    result<void> fill(deadline until) {
        std::array<char, 65536> buffer;
        for (;;) {
            ssize_t n = 0;
            if (tls) {
                ERR_clear_error();
                std::size_t got = 0;
                const int ok = SSL_read_ex(tls.get(), buffer.data(), buffer.size(), &got);
                if (ok != 1) {
                    if (auto more = tls_wait(ok, until); !more) return more;
                    continue;
                }
                n = static_cast<ssize_t>(got);
            } else {
                n = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
                if (n < 0 && errno == EINTR) continue;
                if (n < 0 && errno == EAGAIN) {
                    if (auto ready = wait(POLLIN, until); !ready) return ready;
                    continue;
                }
                if (n < 0) return away(errno_text(errno));
                if (n == 0) return away("the server closed the connection");
            }
            if (redisReaderFeed(reader.get(), buffer.data(), static_cast<std::size_t>(n)) !=
                REDIS_OK)
                return away("the answer is not Redis'");
            return {};
        }
    }

    // How much the socket took; 0: it takes nothing now.
    result<std::size_t> write_some(std::string_view bytes) {
        if (tls) {
            ERR_clear_error();
            std::size_t written = 0;
            const int ok = SSL_write_ex(tls.get(), bytes.data(), bytes.size(), &written);
            if (ok == 1) return written;
            if (tls_may_go_on(ok)) return std::size_t{0};
            return away("the connection broke");
        }
        for (;;) {
            const auto n = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (n >= 0) return static_cast<std::size_t>(n);
            if (errno == EAGAIN) return std::size_t{0};
            if (errno != EINTR) return away(errno_text(errno));
        }
    }

    // Nothing of a reply is in the parser.
    [[nodiscard]] bool parser_is_empty() const noexcept {
        return reader->ridx < 0 && reader->pos == reader->len;
    }

    // Takes what is there, or feeds the parser with it; false: nothing more is there now.
    result<bool> read_some(std::vector<reply>& in) {
        std::array<char, 65536> buffer;
        std::size_t got = 0;
        if (tls) {
            ERR_clear_error();
            const int ok = SSL_read_ex(tls.get(), buffer.data(), buffer.size(), &got);
            if (ok != 1 && tls_may_go_on(ok)) return false;
            if (ok != 1) return away("the connection broke");
        } else {
            const auto n = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
            if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
            if (n < 0) return away(errno_text(errno));
            if (n == 0) return away("the server closed the connection");
            got = static_cast<std::size_t>(n);
        }
        std::string_view left(buffer.data(), got);
        if (parser_is_empty()) left.remove_prefix(take_simple(left, in));
        if (!left.empty() && redisReaderFeed(reader.get(), left.data(), left.size()) != REDIS_OK)
            return away("the answer is not Redis'");
        // A short read has emptied the socket; a TLS record says nothing about the next.
        return tls != nullptr || got == buffer.size();
    }

    bool tls_may_go_on(int outcome) {
        const int why = SSL_get_error(tls.get(), outcome);
        return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
    }

    // False: not whole yet.
    result<bool> take(reply& out) {
        void* raw = nullptr;
        if (redisReaderGetReply(reader.get(), &raw) != REDIS_OK)
            return away("the answer is not Redis'");
        if (raw == nullptr) return false;
        auto* const parsed = static_cast<redisReply*>(raw);
        const bool sane = parsed->type != REDIS_REPLY_ARRAY || parsed->elements <= max_reply_items;
        if (sane) out = converted(*parsed);
        freeReplyObject(raw);
        if (!sane) return away("the answer is too large");
        return true;
    }
};

connection::connection() : impl_(std::make_unique<impl>()) {}
connection::~connection() = default;

bool connection::is_open() const noexcept {
    return static_cast<bool>(impl_->socket);
}
int connection::descriptor() const noexcept {
    return impl_->socket.get();
}

void connection::close() noexcept {
    impl_->tls.reset();
    impl_->socket.reset();
    impl_->reader.reset();
}

result<void> connection::open(const target& to, deadline until) {
    close();
    if (to.mode == redis_mode::sentinel) {
        // A Sentinel that is cut off from the others names a master of old: then the next is asked.
        result<void> opened = away("no Sentinel is named");
        for (std::size_t first = 0; first < to.seeds.size();) {
            const auto now = std::chrono::steady_clock::now();
            const auto left = static_cast<int>(to.seeds.size() - first);
            const auto master = find_master(to, until, first);
            if (!master) return master.error();
            opened = open(*master, now + (until - now) / left);
            if (opened) break;
        }
        return opened;
    }
    impl_->reader.reset(redisReaderCreate());
    if (!impl_->reader) return away("out of memory");
    auto up = impl_->dial(to, until);
    if (up && to.tls) up = impl_->handshake(to, until);
    if (!up) {
        close();
        return away("cannot connect to " + to.name() + ": " + up.error().context);
    }
    pipeline hello;
    if (!to.password.empty()) {
        if (to.user.empty())
            hello.add({"AUTH", to.password.reveal()});
        else
            hello.add({"AUTH", to.user, to.password.reveal()});
    }
    if (!to.db.empty() && to.db != "0") hello.add({"SELECT", to.db});
    if (to.must_be_master) hello.add({"ROLE"});
    const auto needed = hello.size();
    if (!to.client_name.empty()) hello.add({"CLIENT", "SETNAME", to.client_name});
    const auto answers = exchange(hello, until);
    if (!answers) return away("cannot connect to " + to.name() + ": " + answers.error().context);
    for (std::size_t i = 0; i < needed; ++i)
        if ((*answers)[i].is_error()) {
            close();
            // A server that knows no AUTH repeats its arguments.
            std::string_view why = (*answers)[i].text;
            if (i == 0 && !to.password.empty()) why = why.substr(0, why.find_first_of("'`"));
            return away(to.name() + " refused us: " + std::string(why));
        }
    if (to.must_be_master) {
        const auto& role = (*answers)[needed - 1].items;
        if (role.empty() || role.front().text != "master") {
            close();
            return away(to.name() + " is not the master any more, or not yet");
        }
    }
    return {};
}

result<void> connection::send(const pipeline& commands, deadline until) {
    if (!is_open()) return away("not connected");
    auto went = impl_->write(commands.bytes(), until);
    if (!went) close();
    return went;
}

result<std::vector<reply>> connection::receive(std::size_t replies, deadline until) {
    std::vector<reply> out;
    out.reserve(replies);
    if (!is_open()) return away("not connected");
    result<void> went;
    while (went && out.size() < replies) {
        reply one;
        const auto whole = impl_->take(one);
        if (!whole)
            went = whole.error();
        else if (*whole)
            out.push_back(std::move(one));
        else
            went = impl_->fill(until);
    }
    if (went) return out;
    close();
    return went.error();
}

result<std::vector<reply>> connection::exchange(const pipeline& commands, deadline until) {
    if (auto went = send(commands, until); !went) return went.error();
    return receive(commands.size(), until);
}

result<void> connection::turn(std::string& out, std::vector<reply>& in, bool readable) {
    if (!is_open()) return away("not connected");
    result<void> went;
    if (!out.empty()) {
        const auto written = impl_->write_some(out);
        if (written)
            out.erase(0, *written);
        else
            went = written.error();
    }
    for (bool more = readable; went && more;) {
        const auto read = impl_->read_some(in);
        if (!read) {
            went = read.error();
            break;
        }
        more = *read;
        for (reply one; went && !impl_->parser_is_empty();) {
            const auto whole = impl_->take(one);
            if (!whole) went = whole.error();
            if (!whole || !*whole) break;
            in.push_back(std::move(one));
        }
    }
    if (!went) close();
    return went;
}

bool connection::drain() {
    if (!is_open()) return false;
    const auto filled = impl_->fill(std::chrono::steady_clock::now());
    if (!filled) {
        close();
        return false;
    }
    reply ignored;
    for (;;) {
        const auto whole = impl_->take(ignored);
        if (!whole) close();
        if (!whole || !*whole) return whole.has_value();
    }
}

}  // namespace kw::store::redis
