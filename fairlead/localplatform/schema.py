"""The GraphQL schema of the local platform: what a deploy needs of Railway's, under the official names and types.

Every field and argument here exists in the official schema with the same type; a test compares the two.
"""

from typing import Final

SCHEMA: Final = '''
"""A date-time string at UTC, such as 2007-12-03T10:15:30Z."""
scalar DateTime

"""What is known about where a deployment came from; `cliMessage` is the message of its upload."""
scalar DeploymentMeta

"""A service's variables by their names."""
scalar EnvironmentVariables

"""Any value that JSON can hold."""
scalar JSON

"""Why a deployment failed, as far as the platform can tell."""
scalar DeploymentDiagnosis

enum DeploymentStatus {
  BUILDING
  CRASHED
  DEPLOYING
  FAILED
  INITIALIZING
  NEEDS_APPROVAL
  QUEUED
  REMOVED
  REMOVING
  SKIPPED
  SLEEPING
  SUCCESS
  WAITING
}

enum DeploymentEventStep {
  BUILD_IMAGE
  CONFIGURE_NETWORK
  CREATE_CONTAINER
  DRAIN_INSTANCES
  HEALTHCHECK
  MIGRATE_VOLUMES
  PRE_DEPLOY_COMMAND
  PUBLISH_IMAGE
  SNAPSHOT_CODE
  WAIT_FOR_DEPENDENCIES
}

enum Builder {
  HEROKU
  NIXPACKS
  PAKETO
  RAILPACK
}

enum RestartPolicyType {
  ALWAYS
  NEVER
  ON_FAILURE
}

enum SortOrder {
  asc
  desc
}

interface Node {
  id: ID!
}

type Deployment implements Node {
  canRollback: Boolean!
  createdAt: DateTime!
  "Whether all instances of the deployment have stopped."
  deploymentStopped: Boolean!
  diagnosis: DeploymentDiagnosis
  environment: Environment!
  environmentId: String!
  id: ID!
  meta: DeploymentMeta
  projectId: String!
  service: Service!
  serviceId: String
  staticUrl: String
  status: DeploymentStatus!
  statusUpdatedAt: DateTime
  url: String
}

type DeploymentEvent implements Node {
  completedAt: DateTime
  createdAt: DateTime!
  id: ID!
  payload: DeploymentEventPayload
  step: DeploymentEventStep!
}

type DeploymentEventPayload {
  detail: String
  error: String
  skipped: Boolean
}

input DeploymentListInput {
  environmentId: String
  includeDeleted: Boolean
  projectId: String
  serviceId: String
  status: DeploymentStatusInput
}

input DeploymentStatusInput {
  in: [DeploymentStatus!]
  notIn: [DeploymentStatus!]
}

type Environment implements Node {
  id: ID!
  name: String!
  projectId: String!
}

type HttpDurationMetricsResult {
  samples: [HttpDurationMetricsSample!]!
}

"Durations in milliseconds; `ts` is in unix seconds."
type HttpDurationMetricsSample {
  p50: Float!
  p90: Float!
  p95: Float!
  p99: Float!
  ts: Int!
}

type HttpMetricsByStatusResult {
  samples: [HttpMetricsSample!]!
  statusCode: Int!
}

type HttpMetricsSample {
  ts: Int!
  value: Float!
}

type Log {
  message: String!
  severity: String
  tags: LogTags
  "RFC 3339, with fractions of a second."
  timestamp: String!
}

type LogTags {
  deploymentId: String
  environmentId: String
  projectId: String
  serviceId: String
}

type PageInfo {
  endCursor: String
  hasNextPage: Boolean!
  hasPreviousPage: Boolean!
  startCursor: String
}

type Project implements Node {
  environments(
    after: String
    before: String
    first: Int
    isEphemeral: Boolean
    last: Int
    sort: SortOrder
  ): ProjectEnvironmentsConnection!
  id: ID!
  name: String!
  services(after: String, before: String, first: Int, last: Int): ProjectServicesConnection!
}

type ProjectEnvironmentsConnection {
  edges: [ProjectEnvironmentsConnectionEdge!]!
  pageInfo: PageInfo!
}

type ProjectEnvironmentsConnectionEdge {
  cursor: String!
  node: Environment!
}

type ProjectServicesConnection {
  edges: [ProjectServicesConnectionEdge!]!
  pageInfo: PageInfo!
}

type ProjectServicesConnectionEdge {
  cursor: String!
  node: Service!
}

type ProjectToken implements Node {
  environment: Environment!
  environmentId: String!
  id: ID!
  name: String!
  project: Project!
  projectId: String!
}

type QueryDeploymentEventsConnection {
  edges: [QueryDeploymentEventsConnectionEdge!]!
  pageInfo: PageInfo!
}

type QueryDeploymentEventsConnectionEdge {
  cursor: String!
  node: DeploymentEvent!
}

type QueryDeploymentsConnection {
  edges: [QueryDeploymentsConnectionEdge!]!
  pageInfo: PageInfo!
}

type QueryDeploymentsConnectionEdge {
  cursor: String!
  node: Deployment!
}

type Service implements Node {
  id: ID!
  name: String!
  projectId: String!
}

"How a service is run; on the local platform its releases' railway.json says that, and nothing changes it here."
type ServiceInstance {
  dockerfilePath: String
  drainingSeconds: Int
  environmentId: String!
  healthcheckPath: String
  healthcheckTimeout: Int
  numReplicas: Int
  overlapSeconds: Int
  preDeployCommand: JSON
  restartPolicyMaxRetries: Int!
  restartPolicyType: RestartPolicyType!
  serviceId: String!
  sleepApplication: Boolean
  startCommand: String
}

input ServiceInstanceUpdateInput {
  buildCommand: String
  builder: Builder
  cronSchedule: String
  dockerfilePath: String
  drainingSeconds: Int
  healthcheckPath: String
  healthcheckTimeout: Int
  ipv6EgressEnabled: Boolean
  multiRegionConfig: JSON
  nixpacksPlan: JSON
  numReplicas: Int
  overlapSeconds: Int
  preDeployCommand: [String!]
  railwayConfigFile: String
  region: String
  registryCredentials: RegistryCredentialsInput
  restartPolicyMaxRetries: Int
  restartPolicyType: RestartPolicyType
  rootDirectory: String
  sleepApplication: Boolean
  source: ServiceSourceInput
  startCommand: String
  watchPatterns: [String!]
}

input RegistryCredentialsInput {
  password: String!
  username: String!
}

input ServiceSourceInput {
  image: String
  repo: String
}

type Mutation {
  deploymentCancel(id: String!): Boolean!
  deploymentRollback(id: String!): Boolean!
  serviceInstanceUpdate(environmentId: String, input: ServiceInstanceUpdateInput!, serviceId: String!): Boolean!
}

type Query {
  buildLogs(deploymentId: String!, endDate: DateTime, filter: String, limit: Int, startDate: DateTime): [Log!]!
  deployment(id: String!): Deployment!
  deploymentEvents(
    after: String
    before: String
    first: Int
    id: String!
    last: Int
  ): QueryDeploymentEventsConnection!
  deploymentLogs(deploymentId: String!, endDate: DateTime, filter: String, limit: Int, startDate: DateTime): [Log!]!
  deployments(
    after: String
    before: String
    first: Int
    input: DeploymentListInput!
    last: Int
  ): QueryDeploymentsConnection!
  httpDurationMetrics(
    endDate: DateTime!
    environmentId: String!
    method: String
    path: String
    serviceId: String!
    startDate: DateTime!
    statusCode: Int
    stepSeconds: Int
  ): HttpDurationMetricsResult!
  httpMetricsGroupedByStatus(
    endDate: DateTime!
    environmentId: String!
    method: String
    path: String
    serviceId: String!
    startDate: DateTime!
    stepSeconds: Int
  ): [HttpMetricsByStatusResult!]!
  project(id: String!): Project!
  "The project token that the request carries."
  projectToken: ProjectToken!
  serviceInstance(environmentId: String!, serviceId: String!): ServiceInstance!
  variables(environmentId: String!, projectId: String!, serviceId: String, unrendered: Boolean): EnvironmentVariables!
  variablesForServiceDeployment(environmentId: String!, projectId: String!, serviceId: String!): EnvironmentVariables!
}
'''
