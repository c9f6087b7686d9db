// kw_load: an HTTP/1.1 load generator over epoll that checks every answer byte for byte.
//
//   kw_load --url http://127.0.0.1:8080/v1/chat/completions --connections 64 --seconds 5
//           [--warmup 1] [--requests N] [--rate N] [--body FILE] [--header "Name: value"]...
//           [--stream] [--ramp 20] [--grace 10]
//
// A closed loop as a rule: each connection sends its next request when it has the answer. With
// --rate so many requests a second are due at even distances, whatever the answers do, and latency
// counts from when a request was due; one that finds no connection free is sent late. The first
// good answer's body is the pattern; every other must equal it (unless --no-compare). With
// --stream, events are counted and each stream must end with its last chunk and [DONE]. Prints one
// line of JSON; exits 1 if any answer was wrong. --ramp spreads the connects over so many seconds;
// --grace: how long an answer under way at the end may take. Plain HTTP and IPv4 addresses only.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

using steady = std::chrono::steady_clock;

struct options {
    std::string host = "127.0.0.1";
    std::uint16_t port = 80;
    std::string path = "/";
    std::size_t connections = 64;
    double seconds = 5;
    double warmup = 0;
    double ramp = 0;
    double grace = 10;
    std::uint64_t requests = 0;  // 0: until the time is up
    double rate = 0;             // requests a second; 0: as fast as they are answered
    std::string body;
    std::string headers;
    bool stream = false;
    bool compare = true;
    bool close_each = false;  // a connection for every request
};

[[noreturn]] void die(std::string_view what) {
    std::fprintf(stderr, "kw_load: %.*s\n", static_cast<int>(what.size()), what.data());
    std::exit(2);
}

struct totals {
    std::uint64_t done = 0;
    std::uint64_t wrong = 0;
    std::uint64_t reconnects = 0;
    std::uint64_t events = 0;
    std::uint64_t bytes = 0;
    std::vector<std::uint32_t> latency_us;
    std::vector<std::uint32_t> first_us;
    std::string first_fault;
};

// Reads one answer: status, framing, body. Knows just enough HTTP for a server that is under test.
class answer_reader {
  public:
    enum class state { more, done, broken };

    void start() {
        in_head_ = true;
        head_.clear();
        body_.clear();
        chunked_ = false;
        left_ = 0;
        chunk_ = chunk_state::size;
        size_line_.clear();
        why_ = "";
    }

    // Takes bytes; `done` when the answer is whole. Bytes after it are an error (no pipelining).
    state feed(std::string_view in) {
        if (in_head_) {
            const std::size_t old = head_.size();
            head_.append(in);
            const std::size_t end = head_.find("\r\n\r\n", old < 3 ? 0 : old - 3);
            if (end == std::string::npos)
                return head_.size() > 65536 ? fail("head too large") : state::more;
            in.remove_prefix(end + 4 - old);
            head_.resize(end + 2);
            if (!parse_head()) return state::broken;
            in_head_ = false;
            if (!chunked_ && left_ == 0)
                return in.empty() ? state::done : fail("bytes after the answer");
        }
        return chunked_ ? feed_chunked(in) : feed_counted(in);
    }

    [[nodiscard]] int status() const { return status_; }
    [[nodiscard]] bool head_seen() const { return !in_head_; }
    [[nodiscard]] bool keeps_open() const { return keep_; }
    [[nodiscard]] const std::string& body() const { return body_; }
    [[nodiscard]] const char* why() const { return why_; }

  private:
    enum class chunk_state { size, data, data_end, trailer };

    state fail(const char* why) {
        why_ = why;
        return state::broken;
    }

    bool parse_head() {
        if (!head_.starts_with("HTTP/1.1 ") || head_.size() < 12) {
            why_ = "bad status line";
            return false;
        }
        std::from_chars(head_.data() + 9, head_.data() + 12, status_);
        std::transform(head_.begin(), head_.end(), head_.begin(),
                       [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
        keep_ = head_.find("\r\nconnection: close") == std::string::npos;
        chunked_ = head_.find("\r\ntransfer-encoding: chunked") != std::string::npos;
        if (chunked_) return true;
        constexpr std::string_view name = "\r\ncontent-length: ";
        const std::size_t at = head_.find(name);
        if (at == std::string::npos) {
            why_ = "neither length nor chunks";
            return false;
        }
        std::from_chars(head_.data() + at + name.size(), head_.data() + head_.size(), left_);
        return true;
    }

    state feed_counted(std::string_view in) {
        if (in.size() > left_) return fail("more body than promised");
        body_.append(in);
        left_ -= in.size();
        return left_ == 0 ? state::done : state::more;
    }

    state feed_chunked(std::string_view in) {
        while (!in.empty()) {
            if (chunk_ == chunk_state::data) {
                const std::size_t n = std::min(in.size(), left_);
                body_.append(in.substr(0, n));
                in.remove_prefix(n);
                left_ -= n;
                if (left_ == 0) chunk_ = chunk_state::data_end;
                continue;
            }
            const std::size_t end = in.find('\n');
            size_line_.append(in.substr(0, end == std::string_view::npos ? in.size() : end + 1));
            if (size_line_.size() > 4096) return fail("chunk line too long");
            if (end == std::string_view::npos) return state::more;
            in.remove_prefix(end + 1);
            if (!size_line_.ends_with("\r\n")) return fail("bare line feed");
            if (chunk_ == chunk_state::data_end) {
                if (size_line_ != "\r\n") return fail("chunk longer than its size");
                chunk_ = chunk_state::size;
            } else if (chunk_ == chunk_state::trailer) {
                if (size_line_ == "\r\n")
                    return in.empty() ? state::done : fail("bytes after the answer");
            } else {
                const auto [stop, bad] = std::from_chars(
                    size_line_.data(), size_line_.data() + size_line_.size(), left_, 16);
                if (bad != std::errc{} || stop == size_line_.data()) return fail("bad chunk size");
                chunk_ = left_ == 0 ? chunk_state::trailer : chunk_state::data;
            }
            size_line_.clear();
        }
        return state::more;
    }

    bool in_head_ = true;
    bool chunked_ = false;
    bool keep_ = true;
    int status_ = 0;
    std::size_t left_ = 0;
    chunk_state chunk_ = chunk_state::size;
    std::string head_;
    std::string body_;
    std::string size_line_;
    const char* why_ = "";
};

class generator {
  public:
    explicit generator(options o) : options_(std::move(o)) {
        request_ = "POST " + options_.path + " HTTP/1.1\r\nHost: " + options_.host + ":" +
                   std::to_string(options_.port) + "\r\nContent-Type: application/json\r\n" +
                   options_.headers + "Content-Length: " + std::to_string(options_.body.size()) +
                   "\r\n\r\n" + options_.body;
    }

    int run() {
        epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
        clients_.resize(options_.connections);
        const auto begin = steady::now();
        const auto after = [&](double s) {
            return begin +
                   std::chrono::duration_cast<steady::duration>(std::chrono::duration<double>(s));
        };
        measure_from_ = after(options_.warmup);
        stop_at_ = after(options_.warmup + options_.seconds);
        if (options_.rate > 0) schedule_from(begin);
        const auto connect_due = [&] {
            const double part = std::chrono::duration<double>(steady::now() - begin).count() /
                                std::max(options_.ramp, 1e-9);
            const auto due = static_cast<std::size_t>(std::min(part, 1.0) *
                                                      static_cast<double>(clients_.size()));
            while (connected_ < due)
                connect(clients_[connected_++]);
            return connected_ < clients_.size();
        };
        std::array<epoll_event, 256> got{};
        std::array<char, 65536> buffer{};
        for (bool more = true; more || active_ > 0;) {
            if (more) more = connect_due();
            const int n =
                ::epoll_wait(epoll_, got.data(), static_cast<int>(got.size()), more ? 5 : 100);
            const auto now = steady::now();
            // A stream or answer under way may end, but not for ever.
            if (now > stop_at_ + std::chrono::duration<double>(options_.grace)) break;
            for (int i = 0; i < n; ++i) {
                if (auto* const c = static_cast<client*>(got[static_cast<std::size_t>(i)].data.ptr))
                    serve(*c, buffer);
                else
                    send_due();
            }
            if (n == 0 && now > stop_at_ && idle()) break;
        }
        for (auto& c : clients_)
            if (c.busy) fault("no end of the answer in time");
        report(std::chrono::duration<double>(std::min(steady::now(), stop_at_) - measure_from_)
                   .count());
        return totals_.wrong == 0 && totals_.done > 0 ? 0 : 1;
    }

  private:
    struct client {
        int fd = -1;
        bool busy = false;
        bool first_seen = false;
        std::size_t sent = 0;
        std::uint64_t served = 0;
        steady::time_point began;
        answer_reader reader;
    };

    [[nodiscard]] bool idle() const {
        return std::none_of(clients_.begin(), clients_.end(),
                            [](const client& c) { return c.busy; });
    }

    void fault(std::string_view why) {
        ++totals_.wrong;
        if (totals_.first_fault.empty()) totals_.first_fault = why;
    }

    void connect(client& c) {
        c.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(options_.port);
        ::inet_pton(AF_INET, options_.host.c_str(), &to.sin_addr);
        // The address is on this machine: a blocking connect is immediate or refused.
        if (::connect(c.fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
            die("cannot connect");
        const int one = 1;
        ::setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        ::fcntl(c.fd, F_SETFL, O_NONBLOCK);
        epoll_event ev{};
        ev.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
        ev.data.ptr = &c;
        ::epoll_ctl(epoll_, EPOLL_CTL_ADD, c.fd, &ev);
        c.served = 0;
        ++active_;
        begin(c);
    }

    void drop(client& c) {
        ::close(c.fd);
        c.fd = -1;
        c.busy = false;
        --active_;
    }

    void schedule_from(steady::time_point begin) {
        due_ = begin;
        between_ = std::chrono::duration_cast<steady::duration>(
            std::chrono::duration<double>(1 / options_.rate));
        timer_ = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        epoll_event ev{};
        ev.events = EPOLLIN | EPOLLET;
        ev.data.ptr = nullptr;
        ::epoll_ctl(epoll_, EPOLL_CTL_ADD, timer_, &ev);
    }

    // Free connections take what is due; the timer rings for what comes next.
    void send_due() {
        while (!free_.empty() && (due_ <= steady::now() || steady::now() >= stop_at_)) {
            client& c = *free_.back();
            free_.pop_back();
            if (c.fd >= 0) begin(c);
        }
        if (free_.empty()) return;
        const auto at = std::chrono::duration_cast<std::chrono::nanoseconds>(
            std::min(due_, stop_at_).time_since_epoch());
        itimerspec when{};
        when.it_value.tv_sec = static_cast<time_t>(at.count() / 1'000'000'000);
        when.it_value.tv_nsec = static_cast<long>(at.count() % 1'000'000'000);
        ::timerfd_settime(timer_, TFD_TIMER_ABSTIME, &when, nullptr);
    }

    void begin(client& c) {
        auto now = steady::now();
        if (now >= stop_at_ || (options_.requests && started_ >= options_.requests)) {
            drop(c);
            return;
        }
        if (timer_ >= 0) {
            if (due_ > now) {
                free_.push_back(&c);
                if (free_.size() == 1) send_due();
                return;
            }
            now = due_;
            due_ += between_;
        }
        ++started_;
        c.busy = true;
        c.first_seen = false;
        c.sent = 0;
        c.began = now;
        c.reader.start();
        push(c);
    }

    void push(client& c) {
        while (c.sent < request_.size()) {
            const auto n =
                ::send(c.fd, request_.data() + c.sent, request_.size() - c.sent, MSG_NOSIGNAL);
            if (n < 0) return;
            c.sent += static_cast<std::size_t>(n);
        }
    }

    void serve(client& c, std::array<char, 65536>& buffer) {
        if (c.fd < 0) return;
        if (c.busy && c.sent < request_.size()) push(c);
        for (;;) {
            const auto n = ::recv(c.fd, buffer.data(), buffer.size(), 0);
            if (n < 0 && errno == EAGAIN) return;
            if (n <= 0) {
                const bool mid_answer = c.busy && (c.served == 0 || c.reader.head_seen());
                drop(c);
                if (mid_answer) fault("connection closed in an answer");
                ++totals_.reconnects;
                if (steady::now() < stop_at_ && totals_.wrong < 1000) connect(c);
                return;
            }
            const std::string_view in(buffer.data(), static_cast<std::size_t>(n));
            const auto state = c.reader.feed(in);
            if (!c.first_seen && !c.reader.body().empty()) {
                c.first_seen = true;
                if (c.began >= measure_from_) totals_.first_us.push_back(since(c.began));
            }
            switch (state) {
                case answer_reader::state::more:
                    break;
                case answer_reader::state::broken:
                    fault(c.reader.why());
                    drop(c);
                    if (totals_.wrong < 1000) connect(c);
                    return;
                case answer_reader::state::done:
                    finish(c);
                    if (c.fd < 0) return;
                    break;
            }
        }
    }

    void finish(client& c) {
        c.busy = false;
        ++c.served;
        check(c.reader);
        if (c.began >= measure_from_ && steady::now() <= stop_at_) {
            ++totals_.done;
            totals_.bytes += c.reader.body().size();
            totals_.latency_us.push_back(since(c.began));
        }
        if (options_.close_each || !c.reader.keeps_open()) {
            drop(c);
            connect(c);
        } else {
            begin(c);
        }
    }

    void check(const answer_reader& got) {
        if (got.status() != 200) {
            fault("status " + std::to_string(got.status()));
            return;
        }
        const std::string& body = got.body();
        if (options_.stream) {
            std::uint64_t events = 0;
            for (std::size_t at = body.find("\n\n"); at != std::string::npos;
                 at = body.find("\n\n", at + 2))
                ++events;
            totals_.events += events;
            if (!body.ends_with("data: [DONE]\n\n")) fault("stream without its end");
        }
        if (!options_.compare) return;
        if (pattern_.empty()) pattern_ = body;
        if (body != pattern_) fault("body differs from the first one");
    }

    [[nodiscard]] static std::uint32_t since(steady::time_point t) {
        return static_cast<std::uint32_t>(
            std::chrono::duration_cast<std::chrono::microseconds>(steady::now() - t).count());
    }

    static std::uint32_t quantile(std::vector<std::uint32_t>& of, double q) {
        if (of.empty()) return 0;
        const auto at = static_cast<std::ptrdiff_t>(q * static_cast<double>(of.size() - 1));
        std::nth_element(of.begin(), of.begin() + at, of.end());
        return of[static_cast<std::size_t>(at)];
    }

    void report(double seconds) {
        auto& lat = totals_.latency_us;
        auto& first = totals_.first_us;
        std::printf(
            "{\"requests\":%llu,\"started\":%llu,\"wrong\":%llu,\"reconnects\":%llu,\"events\":%"
            "llu,\"bytes\":%llu,"
            "\"seconds\":%.3f,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u,\"first_p50_us\":%u,"
            "\"first_p99_us\":%u,\"fault\":\"%s\"}\n",
            static_cast<unsigned long long>(totals_.done),
            static_cast<unsigned long long>(started_),
            static_cast<unsigned long long>(totals_.wrong),
            static_cast<unsigned long long>(totals_.reconnects),
            static_cast<unsigned long long>(totals_.events),
            static_cast<unsigned long long>(totals_.bytes), seconds, quantile(lat, 0.5),
            quantile(lat, 0.99), quantile(lat, 1), quantile(first, 0.5), quantile(first, 0.99),
            totals_.first_fault.c_str());
    }

    options options_;
    std::string request_;
    std::string pattern_;
    int epoll_ = -1;
    int timer_ = -1;          // with a rate
    steady::time_point due_;  // the next request
    steady::duration between_{};
    std::vector<client*> free_;  // wait for what is due
    std::size_t active_ = 0;
    std::size_t connected_ = 0;  // of the clients, at least once
    std::uint64_t started_ = 0;
    steady::time_point measure_from_;
    steady::time_point stop_at_;
    std::vector<client> clients_;
    totals totals_;
};

void set_url(options& o, std::string_view url) {
    constexpr std::string_view scheme = "http://";
    if (!url.starts_with(scheme)) die("--url must begin with http://");
    url.remove_prefix(scheme.size());
    const std::size_t slash = url.find('/');
    if (slash != std::string_view::npos) o.path = url.substr(slash);
    const std::string_view authority = url.substr(0, slash);
    const std::size_t colon = authority.find(':');
    o.host = authority.substr(0, colon);
    if (colon != std::string_view::npos)
        o.port = static_cast<std::uint16_t>(
            std::strtoul(std::string(authority.substr(colon + 1)).c_str(), nullptr, 10));
}

options read_options(int count, char** words) {
    options o;
    for (int i = 1; i < count; ++i) {
        const std::string_view name = words[i];
        if (name == "--stream") {
            o.stream = true;
            continue;
        }
        if (name == "--no-compare") {
            o.compare = false;
            continue;
        }
        if (name == "--close") {
            o.close_each = true;
            continue;
        }
        if (++i >= count) die("no value for the last option");
        const char* value = words[i];
        if (name == "--url") {
            set_url(o, value);
        } else if (name == "--connections") {
            o.connections = std::strtoul(value, nullptr, 10);
        } else if (name == "--seconds") {
            o.seconds = std::strtod(value, nullptr);
        } else if (name == "--warmup") {
            o.warmup = std::strtod(value, nullptr);
        } else if (name == "--ramp") {
            o.ramp = std::strtod(value, nullptr);
        } else if (name == "--grace") {
            o.grace = std::strtod(value, nullptr);
        } else if (name == "--requests") {
            o.requests = std::strtoull(value, nullptr, 10);
        } else if (name == "--rate") {
            o.rate = std::strtod(value, nullptr);
        } else if (name == "--header") {
            o.headers += std::string(value) + "\r\n";
        } else if (name == "--body") {
            std::ifstream file(value, std::ios::binary);
            if (!file) die("cannot read the body's file");
            o.body.assign(std::istreambuf_iterator<char>(file), {});
        } else {
            die("unknown option");
        }
    }
    return o;
}

}  // namespace

int main(int argc, char** argv) {
    return generator(read_options(argc, argv)).run();
}
