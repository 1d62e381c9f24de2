"""Word lists of the detectors: what names promise, which accounts and organisations are nobody's secret."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _bytes(text: str) -> frozenset[bytes]:
    return frozenset(word.encode() for word in text.split())


PASSWORD_WORDS = _words(
    """
    psk     adminpassword adminpw contrasena contraseña dbpass dbpassword kennwort keypass keypassword mysqlpassword
    pass passcode passphrase passwd password passwort passwrd pgpassword pswd pw pwd rootpassword rootpw senha
    smtppass sshpass storepass storepassword userpass userpassword
    """,
)
"""A name with one of these words names a password."""

SECRET_WORDS = _words(
    """
    accesskey accesstoken accountkey apikey apikeys apisecret apitoken appkey appsecret authkey authtoken
    bearer bottoken clientkey clientsecret consumersecret credential credentials creds deploykey encryptionkey
    idtoken jwt licensekey masterkey mnemonic oauthtoken otp pat privatekey refreshtoken sas sastoken secret
    secretkey secrets servicekey sessionkey sessiontoken sharedaccesskey sharedkey signingkey token tokens
    totp webhooksecret
    """,
)
"""A name with one of these words names a secret, unless a harmless qualifier stands before it."""

KEY_QUALIFIERS = _words(
    """
    access account admin aes algolia anthropic api app application auth aws azure cipher client cloudflare
    consumer cosmos crypto datadog dd decrypt decryption deploy ecdsa ed25519 encrypt encryption fernet
    function gcp github gitlab google gpg hash heroku hmac host iam ingestion instrumentation integration jwt
    licence license live management maps master openai org pepper personal pgp places preshared primary
    private project psk publishable read recovery root rsa sdk secondary secret sendgrid server service
    session shared sign signing ssh storage stripe subscription super team tenant twilio unseal user vault
    wallet webhook wep wifi wpa write
    """,
)
"""Before "key", these make it a secret."""

HARMLESS_QUALIFIERS = _words(
    """
    any arrow audio avg begin bos bpe bucket budget byte cache cached checkpoint cls column comment completion
    composite context continuation cost count csrf current cursor dedup dedupe delta dict end eos event
    expected extra fingerprint foreign group hot i18n idempotency idempotent image index input item json
    keyboard keyword left lexer line list lookup map mask max mean message min n natural new next num object
    operator output pad page pagination parser partition peek per previous prompt public punctuation query
    react reasoning remaining resume right routing row s3 schema sep sequence short sort span special stop
    string subword sync syntax tab text thinking total trace translation unexpected unique unk used window
    xsrf
    """,
)
"""Before "key" or "token", these make it something else: a cache key, a count of tokens."""

HARMLESS_ENDS = _words(
    """
    alg algo algorithm alias aries arn ary at board budget button change changed checksum class code codes
    column columns config configuration confirm confirmation count counts created data64 date days default
    desc description detection detector digest dir disabled down ed email enabled endpoint entic entication er
    error errors ers es event events exists expiration expire expired expires expiry factory field fields file
    filename files fingerprint forgot form format frame gen generator get guard handler hash hashes header
    headers help helper hint hook hooks host hours id ids idx in index info ing input interface invalid
    isation ise iser ising ism ive ization ize ized izer izes izing kind kinds label len length less limit
    limits link list ly manager map max method methods middleware min missing modal mode model module ms name
    names none null option options or ority orization orize ors out page pair pairs path paths pattern phrase
    placeholder plugin policy port prefix present press prompt provider ref reference refresh refs regex
    region required reset ring rotate rotation route rule rules scanner schema scheme schemes scope scopes
    screen seconds service set setting settings size spec state status store strategy strength style suffix
    test tests text through time timestamp title ttl type types up updated uri uris url urls usage used user
    username util utils valid validation validator value_type version view word words
    """,
)
"""A name that ends so is about a secret but does not hold it."""

VENDORS = _bytes(
    """
    adafruit adobe airtable alchemy algolia alibaba aliyun artifactory asana assemblyai atlassian auth0 aws
    azure beamer bitbucket bittrex clickhouse clojars cloudflare codecov cohere coinbase confluence confluent
    contentful databricks datadog deepgram deepseek digitalocean discord droneci dropbox dynatrace elevenlabs
    etherscan etsy facebook fastly finicity finnhub flickr freshbooks gitter gocardless heroku hetzner hubspot
    infura intercom jfrog jira kraken kucoin launchdarkly linkedin linode lob_ looker mailchimp mailgun mapbox
    mattermost messagebird mistral netlify new_relic newrelic nytimes okta openweather opsgenie ovh pagerduty
    plaid privateai rapidapi scaleway sendbird sentry snowflake snyk sonar squarespace sumo_ sumologic travis
    trello twilio twitch twitter typeform vultr yandex zendesk
    """,
)
"""Vendors whose name beside a random value makes it a token."""

ROLE_ACCOUNTS = _bytes(
    """
    adm admin administrator all anonymous apache app appdata appveyor bar bin bot build builder
    buildkite-agent centos circleci code coder codespace containeradministrator daemon data debian default dev
    docker ec2-user everyone example false fedora foo games git gitpod guest http https jenkins library
    linuxbrew local localhost lp mail main man me mysql name nginx nobody node none null pi postgres project
    projects public redis root runner runneradmin sandbox self service shared src staff str string sync sys
    system system32 test testuser this travis true ubuntu undefined unknown user username users vagrant vscode
    wheel work workspace www www-data you your-username your_user yourname youruser
    """,
)
"""Accounts that every machine has, and placeholders for one."""

PUBLIC_ORGANISATIONS = _bytes(
    """
    about actions alpinelinux amazon amd angular ansible anthropics antirez apache apache-arrow apollographql
    apple apps archlinux arm-software astral-sh aws awslabs axios azure azuread babel bazelbuild burntsushi
    bytecodealliance caddyserver chalk charmbracelet chartjs chromium circleci clap-rs cli clickhouse clojure
    cloudflare cmake cncf cockroachdb codecov collections composer conan-io contact containerd crossbeam-rs
    curl cursor customer-stories cypress-io d3 dart-lang dask davecgh debian definitelytyped denoland
    dependabot digitalocean django docker doctrine dotnet drupal dtolnay duckdb elastic electron elixir-lang
    emacs-mirror encode enterprise envoyproxy erlang eslint etcd-io evanw events example examples explore
    expressjs facebook facebookincubator facebookresearch fastapi features fedora-infra flutter freebsd
    gcc-mirror ggerganov ggml-org gin-gonic git git-lfs github gitlab-org gitleaks go-yaml golang golangci
    google google-gemini googleapis googlechrome gorilla gradle grafana graphql grpc guzzle hashicorp haskell
    hasura helm heroku homebrew huggingface hyperium hypothesisworks influxdata intel ipython isaacs istio
    jestjs jetbrains jetpack join jqlang jquery julialang junegunn junit-team jupyter kennethreitz keras-team
    koalaman kubernetes kubernetes-sigs labstack langchain-ai laravel linuxfoundation llvm lodash login logout
    marketplace matplotlib meta-llama microsoft microsoftedge mikefarah mitsuhiko moby mochajs mockito
    modelcontextprotocol mongodb monolog mozilla mozilla-services mrdoob mvdan mysql n8n-io nats-io neovim
    netlify new nikic nim-lang ninja-build nixos nodejs notifications npm numpy nuxt nvidia ocaml ogham
    ohmyzsh ollama openai opencontainers openssf openssh openssl org organization organizations orgs ossf
    oven-sh owner pallets pandas-dev php-fig phpunit pingcap pmezard pnpm pola-rs postgres prettier pricing
    prisma projectlombok prometheus protocolbuffers psf puppeteer pydantic pypa pypi pytest-dev python pytorch
    rails ray-project reactjs readme redis remix-run renovatebot repo rollup ruby rubygems run-llama rust-lang
    rust-random scala scikit-learn scipy search sebastianbergmann security seldaek serde-rs settings sharkdp
    signup sigstore sindresorhus sirupsen site snyk sonarsource sourcegraph spf13 sponsors spring-cloud
    spring-projects sqlite square stedolan storybookjs strapi stretchr supabase sveltejs swc-project swiftlang
    symfony tailwindlabs tensorflow terraform-aws-modules textualize three tiangolo tmux tokio-rs topics
    torvalds traefik travis-ci trending trufflesecurity twbs typescript-eslint uber-go ubuntu user username
    users vercel vim vitejs vllm-project vuejs wasmerio webpack withastro wordpress yarnpkg your-org
    your-username yourusername zed-industries ziglang
    """,
)
"""Well-known owners of public repositories, and first parts of paths that are no owners."""

HOST_WORDS = _bytes(
    """
    bitbucket.org default example.com false github.com gitlab.com host hostname localhost none null string
    true undefined unknown
    """,
)
"""Values of a host field that name no machine."""

MACHINE_AUTHORS = _bytes(
    """
    none null true false string
    actions aider bot claude codex copilot cursor dependabot devin gemini github gpt renovate
    """,
)
"""Words that make an author a program."""

PUBLIC_FORGES = frozenset(
    b"github.com ssh.github.com gist.github.com gitlab.com altssh.gitlab.com bitbucket.org altssh.bitbucket.org"
    b" codeberg.org ssh.dev.azure.com vs-ssh.visualstudio.com git.sr.ht gitea.com heroku.com hf.co huggingface.co"
    b" salsa.debian.org gitlab.gnome.org gitlab.freedesktop.org invent.kde.org aur.archlinux.org opendev.org"
    b" example.com example.org example.net host.com server.com".split(),
)
"""Hosts of git remotes that say nothing about who uses them."""
